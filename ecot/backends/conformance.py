"""One suite that every backend must pass: right labels, no harm from adversaries, the same outcome every time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ecot.backends.concurrency import run_all
from ecot.backends.protocol import Backend
from ecot.errors import DataError, EcotError
from ecot.outcomes import Domain, Execution, Label
from ecot.tasks.bundle import Task

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

    @property
    def costly(self) -> bool:
        """Whether it may use up a time limit."""
        return any(word.startswith(Label.TIMEOUT) for word in self.expected)


@dataclass(frozen=True)
class Attack:
    """The adversaries of one backend and the task that they pose as solving."""

    task: Task
    adversaries: tuple[Adversary, ...]


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
    """`reference`, `wrong`, `adversary`, `aftermath`, `determinism`, `cancellation` or `protocol`."""
    name: str
    state: CheckState
    expected: str
    got: str
    seconds: float

    @property
    def acceptable(self) -> bool:
        """Whether the suite as a whole may pass with this result."""
        return self.state in (CheckState.PASSED, CheckState.KNOWN_FAILURE)


class Progress(Protocol):
    """Told about every finished check."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` checks are over."""
        ...


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
    repetitions: int = 2,
    progress: Progress | None = None,
) -> list[CheckResult]:
    """Run the suite.

    Args:
        backend: what is checked.
        tasks: their references must pass, their wrong candidates must get the labels written down.
        attack: the adversaries of this backend; None leaves them out.
        canary: the host path that adversaries try to write; it must not come to exist.
        known_failures: `group/name` of a check that is known to fail, to the reason.
        repetitions: how often an outcome must repeat exactly.
        progress: called after every check.

    Raises:
        ToolError: the backend itself is broken, as against giving wrong outcomes.
    """
    checks = [*_protocol_checks(backend, tasks), *_label_checks(backend, tasks)]
    if attack is not None:
        checks += _attack_checks(backend, attack, canary)
    checks += _determinism_checks(backend, tasks, attack, repetitions)
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


def _label_checks(backend: Backend, tasks: Mapping[str, Task]) -> list[_Check]:
    checks = []
    for task in tasks.values():
        checks.append(_Check("reference", task.id, Label.PASS, _outcome_of(backend, task, task.reference)))
        for wrong in task.wrong:
            expected = f"{wrong.label}/{wrong.subcode}" if wrong.subcode else str(wrong.label)
            checks.append(_Check("wrong", f"{task.id}/{wrong.name}", expected, _outcome_of(backend, task, wrong.code)))
    return checks


def _attack_checks(backend: Backend, attack: Attack, canary: Path | None) -> list[_Check]:
    checks = []
    for adversary in attack.adversaries:
        expected = " | ".join(sorted(adversary.expected))
        run = _attacked(backend, attack.task, adversary, canary)
        checks.append(_Check("adversary", adversary.name, expected, run))
    names = {adversary.name: adversary for adversary in attack.adversaries}
    # Cancelled in the middle of what would otherwise run into its time limit.
    for name in ("endless_loop", "endless_elaboration"):
        if name in names:
            run = _cancelled(backend, attack.task, names[name])
            checks.append(_Check("cancellation", name, "cancelled, nothing left", run, alone=True))
    crowd = [(attack.task, adversary.code) for adversary in attack.adversaries if not adversary.costly]
    checks.append(_Check("aftermath", "references_amid_adversaries", "PASS", _amid(backend, attack.task, crowd)))
    return checks


def _determinism_checks(
    backend: Backend, tasks: Mapping[str, Task], attack: Attack | None, repetitions: int
) -> list[_Check]:
    jobs = {}
    for task in list(tasks.values())[:3]:
        jobs[f"{task.id}/reference"] = (task, task.reference)
        jobs |= {f"{task.id}/{wrong.name}": (task, wrong.code) for wrong in task.wrong}
    if attack is not None:
        cheap = [adversary for adversary in attack.adversaries if not adversary.costly]
        jobs |= {f"adversary/{adversary.name}": (attack.task, adversary.code) for adversary in cheap}
    return [_Check("determinism", "repeated_side_by_side", "the same", _repeated(backend, jobs, repetitions))]


def _protocol_checks(backend: Backend, tasks: Mapping[str, Task]) -> list[_Check]:
    first = next(iter(tasks.values()))

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


def _outcome_of(backend: Backend, task: Task, code: str) -> Callable[[], Awaitable[str]]:
    async def run() -> str:
        return outcome(await backend.execute(task, code))

    return run


def _attacked(backend: Backend, task: Task, adversary: Adversary, canary: Path | None) -> Callable[[], Awaitable[str]]:
    async def run() -> str:
        got = outcome(await backend.execute(task, adversary.code))
        if canary is not None and canary.exists():
            canary.unlink()
            return f"{got}, and it wrote a file of the host"
        after = await backend.execute(task, task.reference)
        return got if after.passed else f"{got}, and the next execution was {outcome(after)}"

    return run


def _cancelled(backend: Backend, task: Task, adversary: Adversary) -> Callable[[], Awaitable[str]]:
    async def run() -> str:
        before = _child_processes()
        job = asyncio.ensure_future(backend.execute_many([(task, adversary.code)] * 2))
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


def _amid(backend: Backend, task: Task, crowd: Sequence[tuple[Task, str]]) -> Callable[[], Awaitable[str]]:
    async def run() -> str:
        jobs = [job for other in crowd for job in ((task, task.reference), other)]
        results = await backend.execute_many(jobs)
        return ", ".join(sorted({outcome(execution) for execution in results[::2]}))

    return run


def _repeated(backend: Backend, jobs: Mapping[str, tuple[Task, str]], repetitions: int) -> Callable[[], Awaitable[str]]:
    async def run() -> str:
        rounds = [await backend.execute_many(list(jobs.values())) for _ in range(repetitions)]
        for name, *outcomes in zip(jobs, *rounds, strict=True):
            shown = {repr((o.label, o.subcode, o.stage, o.diagnostics, sorted(o.metrics.items()))) for o in outcomes}
            if len(shown) > 1:
                return f"{name} differs: {' / '.join(sorted(shown))}"
        return "the same"

    return run


def _child_processes() -> set[int]:
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        found |= {int(word) for word in Path(f"/proc/self/task/{thread}/children").read_text().split()}
    return found
