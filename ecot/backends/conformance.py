"""One suite that every backend must pass: right labels, no harm from adversaries, the same outcome every time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ecot.backends.concurrency import run_all
from ecot.backends.protocol import Backend
from ecot.errors import DataError, EcotError
from ecot.outcomes import Domain, Execution, Label, Stage
from ecot.progress import Progress
from ecot.tasks.bundle import Task

REPEATS = 20
"""How often a candidate must give the same."""

CANCELLED = ("endless_loop", "endless_elaboration", "cuda_endless_loop")
"""Adversaries that are also cancelled, in the middle of what would otherwise run into its time limit."""
CANCEL_AFTER_SECONDS = 0.3
CANCEL_GRACE_SECONDS = 5.0
"""How long a cancelled execution may take to let go."""


@dataclass(frozen=True)
class Adversary:
    """A candidate that tries to pass undeserved, to do harm or to break the harness."""

    name: str
    code: str
    expected: frozenset[str]
    """Outcomes as `LABEL` or `LABEL/subcode`, of which any will do: tools differ in how they refuse."""
    task: Task | None = None
    """The task that it poses as solving, if not the attack's."""


@dataclass(frozen=True)
class Attack:
    """The adversaries of one backend and the task that they pose as solving."""

    task: Task
    adversaries: tuple[Adversary, ...]


def host_task(tasks: Mapping[str, Task], name: str) -> Task:
    """The task that adversaries are made from.

    Raises:
        DataError: it is missing.
    """
    if name not in tasks:
        raise DataError(f"the adversarial candidates are made from task {name!r}, which is not among the tasks")
    return tasks[name]


class CheckState(StrEnum):
    """How a check came out."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN_FAILURE = "known_failure"
    """Failed, as declared."""
    FIXED = "fixed"
    """Declared as a known failure, but passed: the declaration is to be removed."""


@dataclass(frozen=True)
class CheckResult:
    """One check of the suite."""

    group: str
    """`protocol`, `reference`, `wrong`, `adversary`, `cancellation` or `determinism`."""
    name: str
    state: CheckState
    expected: str
    got: str
    seconds: float

    @property
    def acceptable(self) -> bool:
        """Whether the suite as a whole may pass with this result."""
        return self.state in (CheckState.PASSED, CheckState.KNOWN_FAILURE)


@dataclass(frozen=True)
class _Check:
    group: str
    name: str
    expected: str
    run: Callable[[], Awaitable[str]]
    """Gives what was found; the check passes if that is one of the alternatives of `expected`."""
    alone: bool = False
    """Whether nothing else may run meanwhile."""

    @property
    def place(self) -> str:
        """How a known failure names it."""
        return f"{self.group}/{self.name}"


async def check_backend(
    backend: Backend,
    tasks: Mapping[str, Task],
    attack: Attack | None = None,
    *,
    canary: Path | None = None,
    known_failures: Mapping[str, str] | None = None,
    repeats: int = REPEATS,
    progress: Progress | None = None,
) -> list[CheckResult]:
    """Run the suite.

    Args:
        backend: what is checked.
        tasks: their references must pass, their wrong candidates must get the labels written down. After each adversary
            the cheapest of these references runs once more.
        attack: the adversaries of this backend; None leaves them out.
        canary: the host path that adversaries try to write; it must not come to exist.
        known_failures: `group/name` of a check that is known to fail, to the reason.
        repeats: how often the cheapest candidate that passes and the cheapest that fails in the check, with a
            diagnostic, run: half of the times one by one and half side by side. All others that use up no time limit
            run twice. Outcomes must be the same.
        progress: called after every check.

    Raises:
        ToolError: the backend itself is broken, as against giving wrong outcomes.
    """
    suite = _Suite(backend, canary)
    checks = [*suite.protocol_checks(tasks), *suite.label_checks(tasks)]
    if attack is not None:
        checks += suite.attack_checks(attack)
    checks += suite.determinism_checks(repeats)
    known = known_failures or {}
    if unknown := set(known) - {check.place for check in checks}:
        raise DataError(f"known failures {sorted(unknown)} name no check of this suite")
    done = 0

    async def perform(check: _Check) -> CheckResult:
        nonlocal done
        started = time.monotonic()
        got = await check.run()
        passed = got in check.expected.split(" | ")
        state = CheckState.PASSED if passed else CheckState.FAILED
        if check.place in known:
            state = CheckState.FIXED if passed else CheckState.KNOWN_FAILURE
        done += 1
        if progress is not None:
            progress(done, len(checks), check.place)
        return CheckResult(check.group, check.name, state, check.expected, got, time.monotonic() - started)

    results = await run_all([perform(check) for check in checks if not check.alone])
    return results + [await perform(check) for check in checks if check.alone]


def outcome(execution: Execution) -> str:
    """`LABEL` or `LABEL/subcode`."""
    return f"{execution.label}/{execution.subcode}" if execution.subcode else str(execution.label)


class _Suite:
    """Makes the checks and remembers what every candidate gave, so that all can be asked to repeat it."""

    def __init__(self, backend: Backend, canary: Path | None) -> None:
        self._backend = backend
        self._canary = canary
        self._given: dict[str, tuple[Task, str, Execution]] = {}

    def protocol_checks(self, tasks: Mapping[str, Task]) -> list[_Check]:
        backend, first = self._backend, next(iter(tasks.values()))

        async def fingerprint() -> str:
            execution = await backend.execute(first, first.reference)
            return "yes" if execution.fingerprint == backend.fingerprint != "" else f"{execution.fingerprint!r}"

        async def refusal() -> str:
            foreign = next(domain for domain in Domain if domain not in backend.domains)
            try:
                execution = await backend.execute(replace(first, domain=foreign), first.reference)
            except EcotError as error:
                return type(error).__name__
            return outcome(execution)

        async def order() -> str:
            jobs = [(first, ""), (first, first.reference), (first, ""), (first, first.reference)]
            return ", ".join(execution.label for execution in await backend.execute_many(jobs))

        return [
            _Check("protocol", "fingerprint_in_every_outcome", "yes", fingerprint),
            _Check("protocol", "refuses_other_domains", "DataError", refusal),
            _Check("protocol", "results_in_order", "FORMAT_ERROR, PASS, FORMAT_ERROR, PASS", order),
        ]

    def label_checks(self, tasks: Mapping[str, Task]) -> list[_Check]:
        checks = []
        for task in tasks.values():
            checks.append(_Check("reference", task.id, Label.PASS, self._labelled(task.id, task, task.reference)))
            for wrong in task.wrong:
                expected = f"{wrong.label}/{wrong.subcode}" if wrong.subcode else str(wrong.label)
                name = f"{task.id}/{wrong.name}"
                checks.append(_Check("wrong", name, expected, self._labelled(name, task, wrong.code)))
        return checks

    def attack_checks(self, attack: Attack) -> list[_Check]:
        checks = []
        for adversary in attack.adversaries:
            expected = " | ".join(sorted(adversary.expected))
            run = self._attacked(adversary.task or attack.task, adversary)
            checks.append(_Check("adversary", adversary.name, expected, run))
        for adversary in attack.adversaries:
            if adversary.name in CANCELLED:
                run = self._cancelled(adversary.task or attack.task, adversary)
                checks.append(_Check("cancellation", adversary.name, "cancelled, nothing left", run, alone=True))
        return checks

    def determinism_checks(self, repeats: int) -> list[_Check]:
        return [
            _Check("determinism", "repeated_side_by_side", "the same", self._repeat_all, alone=True),
            _Check("determinism", f"same_in_{repeats}_runs", "the same", self._repeat_cheapest(repeats), alone=True),
        ]

    async def _repeat_all(self) -> str:
        """All candidates once more, side by side."""
        names = [name for name, (_, _, first) in self._given.items() if first.label is not Label.TIMEOUT]
        return self._compare(names, await self._backend.execute_many([self._given[name][:2] for name in names]))

    def _repeat_cheapest(self, repeats: int) -> Callable[[], Awaitable[str]]:
        """A candidate that passes and one that fails: first in turn, then all at once."""

        async def run() -> str:
            chosen = self._cheapest()
            in_turn = chosen * ((repeats - 1) // 2)
            at_once = chosen * (repeats - 1 - (repeats - 1) // 2)
            again = [await self._backend.execute(*self._given[name][:2]) for name in in_turn]
            again += await self._backend.execute_many([self._given[name][:2] for name in at_once])
            return self._compare(in_turn + at_once, again)

        return run

    def _cheapest(self) -> list[str]:
        """Of those that pass, and of those that fail with a diagnostic, in the check if there are any: so both ran."""
        given = {name: job[2] for name, job in self._given.items() if not name.startswith("adversary/")}
        passing = [name for name, first in given.items() if first.passed]
        failing = [
            name
            for name, first in given.items()
            if not first.passed and first.diagnostics and first.label is not Label.TIMEOUT
        ]
        failing = [name for name in failing if given[name].stage is Stage.CHECK] or failing
        return [min(names, key=lambda name: given[name].seconds) for names in (passing, failing) if names]

    def _compare(self, names: Sequence[str], again: Sequence[Execution]) -> str:
        for name, second in zip(names, again, strict=True):
            first = self._given[name][2]
            if _signature(first) != _signature(second):
                return f"{name} gave {_signature(first)} and then {_signature(second)}"
        return "the same"

    def _labelled(self, name: str, task: Task, code: str) -> Callable[[], Awaitable[str]]:
        async def run() -> str:
            execution = await self._backend.execute(task, code)
            self._given[name] = (task, code, execution)
            return outcome(execution)

        return run

    def _attacked(self, task: Task, adversary: Adversary) -> Callable[[], Awaitable[str]]:
        async def run() -> str:
            got = await self._labelled(f"adversary/{adversary.name}", task, adversary.code)()
            if self._canary is not None and self._canary.exists():
                self._canary.unlink()
                return f"{got}, and it wrote a file of the host"
            # While others of its kind are at work.
            near = self._cheapest_reference(task)
            after = await self._backend.execute(near, near.reference)
            return got if after.passed else f"{got}, and the next execution was {outcome(after)}"

        return run

    def _cheapest_reference(self, task: Task) -> Task:
        """Of the tasks in this one's language whose reference has passed so far; this one if there is none yet."""
        passed = {
            given.id: (first.seconds, given)
            for given, code, first in self._given.values()
            if first.passed and code == given.reference and given.language == task.language
        }
        return min(passed.values(), key=lambda found: found[0], default=(0.0, task))[1]

    def _cancelled(self, task: Task, adversary: Adversary) -> Callable[[], Awaitable[str]]:
        async def run() -> str:
            before = _child_processes()
            job = asyncio.ensure_future(self._backend.execute_many([(task, adversary.code)] * 2))
            await asyncio.sleep(CANCEL_AFTER_SECONDS)
            job.cancel()
            done, _ = await asyncio.wait([job], timeout=CANCEL_GRACE_SECONDS)
            if not done:
                return f"still running {CANCEL_GRACE_SECONDS:.0f} s after the cancellation"
            if not job.cancelled():
                return "it ended before it could be cancelled" if job.exception() is None else repr(job.exception())
            left = _child_processes() - before
            return f"{len(left)} processes left" if left else "cancelled, nothing left"

        return run


def _signature(execution: Execution) -> tuple[object, ...]:
    """All of an outcome that must repeat."""
    metrics = tuple(sorted(execution.metrics.items()))
    return (str(execution.label), execution.subcode, str(execution.stage), execution.diagnostics, metrics)


def _child_processes() -> set[int]:
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        found |= {int(word) for word in Path(f"/proc/self/task/{thread}/children").read_text().split()}
    return found
