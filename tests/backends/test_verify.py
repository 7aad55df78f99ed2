"""Every shipped task, run for real."""

import asyncio
import json
from dataclasses import replace

import pytest

from ecot.backends.registry import backends_named
from ecot.backends.verify import verify_tasks
from ecot.outcomes import Label
from ecot.tasks.registry import load_tasks


@pytest.fixture(scope="module")
def verified(chip_design, tasks):
    seen = []
    rows = asyncio.run(verify_tasks(tasks, chip_design, lambda done, total, note="": seen.append(done)))
    assert seen == list(range(1, len(tasks) + 1))
    return rows


def test_every_shipped_task_is_sound(verified, tasks):
    assert [row.describe() for row in verified if not row.as_expected] == []
    assert [row.id for row in verified] == list(tasks)
    assert all(row.reference.execution.passed for row in verified)


def test_every_wrong_candidate_fails_in_the_way_written_down(verified):
    labels = {candidate.execution.label for row in verified for candidate in row.wrong}
    assert {Label.COMPILATION_ERROR, Label.FUNCTIONAL_MISMATCH, Label.RUNTIME_ERROR, Label.TIMEOUT} <= labels
    assert Label.PROTOCOL_VIOLATION in labels and Label.PASS not in labels


def test_the_number_of_samples_does_not_depend_on_the_stimuli(verified):
    """A correct candidate is held to the reference's count, and each candidate has stimuli of its own."""
    for row in verified:
        counts = {candidate.execution.metrics.get("samples") for candidate in (row.reference, *row.wrong)} - {None}
        assert len(counts) == 1, row.id


def test_rows_are_plain_json_with_the_reference_on_top(verified):
    row = json.loads(json.dumps(next(row for row in verified if row.id == "lfsr").to_json()))
    assert (row["id"], row["label"], row["subcode"], row["as_expected"]) == ("lfsr", "PASS", "", True)
    assert {wrong["name"]: wrong["label"] for wrong in row["wrong"]} == {
        "tap_off_by_one": "FUNCTIONAL_MISMATCH",
        "accepts_zero_seed": "FUNCTIONAL_MISMATCH",
        "steps_wrap": "FUNCTIONAL_MISMATCH",
        "bad_literal": "COMPILATION_ERROR",
    }


def test_a_broken_task_is_a_row_and_hides_no_other(icarus, tasks):
    alu, pwm = tasks["alu"], tasks["pwm"]
    broken = replace(alu, reference=alu.reference.replace("a & b", "a | b"))
    mislabelled = replace(pwm, wrong=(replace(pwm.wrong[0], label=Label.TIMEOUT, subcode="run"),))
    first, second = asyncio.run(verify_tasks({"alu": broken, "pwm": mislabelled}, icarus))
    assert not first.as_expected and first.to_json()["label"] == "TOOL_ERROR"
    assert "alu/reference: expected PASS, got TOOL_ERROR/reference" in first.describe()
    assert second.reference.as_expected and not second.as_expected
    assert second.describe().startswith("pwm/duty_taken_at_once: expected TIMEOUT/run, got FUNCTIONAL_MISMATCH")


@pytest.mark.drill
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("backend", "domain"), backends_named())
def test_every_candidate_of_every_domain_is_labelled_as_written_down(started, backend, domain):
    rows = asyncio.run(verify_tasks(load_tasks(f"builtin:{domain}"), started(backend)))
    assert [row.describe() for row in rows if not row.as_expected] == []
