"""The conformance suite itself: backends that are wrong in known ways do not pass it."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from ecot.backends.conformance import CheckState, check_backend
from ecot.errors import DataError
from ecot.outcomes import Label


class Altered:
    """A real backend with one fault."""

    def __init__(self, backend, alter):
        self._backend, self._alter = backend, alter
        self.name, self.domains, self.fingerprint = "altered", backend.domains, backend.fingerprint

    async def execute(self, task, code):
        return self._alter(code, await self._backend.execute(task, code))

    async def execute_many(self, jobs):
        return [await self.execute(task, code) for task, code in jobs]


def failed_groups(backend, tasks, repeats=2):
    results = asyncio.run(check_backend(backend, {"alu": tasks["alu"]}, repeats=repeats))
    return {result.group for result in results if result.state is CheckState.FAILED}


def test_a_backend_that_passes_everything_is_found_out(icarus, tasks):
    lenient = Altered(icarus, lambda code, outcome: replace(outcome, label=Label.PASS, subcode=""))
    assert failed_groups(lenient, tasks) == {"wrong", "protocol"}


def test_a_backend_that_passes_nothing_is_found_out(icarus, tasks):
    strict = Altered(icarus, lambda code, outcome: replace(outcome, label=Label.TIMEOUT, subcode="run"))
    assert {"reference", "wrong"} <= failed_groups(strict, tasks)


def test_diagnostics_that_change_are_found_out(icarus, tasks):
    counter = iter(range(10_000))
    restless = Altered(icarus, lambda code, outcome: replace(outcome, diagnostics=f"run {next(counter)}\n"))
    assert failed_groups(restless, tasks) == {"determinism"}


def test_what_changes_once_in_a_while_is_found_out(icarus, tasks):
    """The reference's ninth run differs, and no other."""
    reference = tasks["alu"].reference

    def seldom(runs):
        return Altered(
            icarus,
            lambda code, o: replace(o, metrics={"moon": 1.0}) if code == reference and next(runs) == 9 else o,
        )

    assert failed_groups(seldom(itertools.count(1)), tasks) == set()
    assert failed_groups(seldom(itertools.count(1)), tasks, repeats=20) == {"determinism"}


def test_a_foreign_fingerprint_is_found_out(icarus, tasks):
    stale = Altered(icarus, lambda code, outcome: replace(outcome, fingerprint="of last year"))
    assert failed_groups(stale, tasks) == {"protocol"}


def test_known_failures_are_declared_by_name_and_noticed_when_mended(icarus, tasks):
    alu = {"alu": tasks["alu"]}
    wrong = tasks["alu"].wrong[0]
    blind = Altered(icarus, lambda code, o: replace(o, label=Label.PASS) if code == wrong.code else o)
    known = {f"wrong/alu/{wrong.name}": "cannot see this yet", "reference/alu": "used to fail"}
    results = asyncio.run(check_backend(blind, alu, known_failures=known, repeats=2))
    states = {f"{result.group}/{result.name}": result.state for result in results}
    assert states[f"wrong/alu/{wrong.name}"] is CheckState.KNOWN_FAILURE
    assert states["reference/alu"] is CheckState.FIXED
    assert [result.name for result in results if not result.acceptable] == ["alu"]
    with pytest.raises(DataError, match="name no check"):
        asyncio.run(check_backend(blind, alu, known_failures={"wrong/alu/of_no_one": ""}))
