"""The conformance suite with all adversaries, and every shipped task for real."""

import asyncio

import pytest

from ecot.backends.conformance import CheckState, check_backend
from ecot.backends.registry import make_attack
from ecot.backends.verify import verify_tasks


def test_the_backend_passes_with_all_adversaries(python, python_tasks, tmp_path):
    canary = tmp_path / "canary"
    few = {"merge_windows": python_tasks["merge_windows"]}
    attack = make_attack("python", canary)
    results = asyncio.run(check_backend(python, few, attack, canary=canary))
    assert [result for result in results if result.state is not CheckState.PASSED] == []
    groups = {result.group for result in results}
    assert groups == {"protocol", "reference", "wrong", "adversary", "cancellation", "determinism"}
    names = {result.name for result in results if result.group == "adversary"}
    assert {
        "fork_bomb",
        "memory_hog",
        "output_flood",
        "endless_loop",
        "endless_sleep",
        "network",
        "read_shadow",
        "read_the_parents_environment",
        "write_outside",
        "symlink_out",
        "kill_the_watcher",
        "stop_the_watcher",
        "fills_the_disk",
        "surviving_child",
        "empty",
        "huge_file",
        "unicode_identifier",
        "nul_bytes",
        "results_forged",
        "equal_to_everything",
    } <= names


@pytest.fixture(scope="module")
def verified(python, python_tasks):
    return asyncio.run(verify_tasks(python_tasks, python))


def test_every_shipped_task_is_sound(verified):
    assert [row.describe() for row in verified if not row.as_expected] == []
    assert len(verified) >= 40


def test_every_candidate_of_a_task_sees_as_many_calls(verified):
    for row in verified:
        counts = {candidate.execution.metrics.get("calls") for candidate in (row.reference, *row.wrong)} - {None}
        assert len(counts) == 1 and min(counts) >= 20, row.id
