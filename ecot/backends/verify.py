"""Run every task's reference and its wrong candidates for real, and compare with what the bundle says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecot.backends.concurrency import run_all
from ecot.backends.conformance import outcome
from ecot.backends.protocol import Backend
from ecot.errors import ToolError
from ecot.outcomes import Domain, Execution, Label, Stage
from ecot.progress import Progress
from ecot.tasks.bundle import Task


@dataclass(frozen=True)
class VerifiedCandidate:
    """One candidate of a task and what came of it."""

    name: str
    """`reference`, or the name of a wrong candidate."""
    expected: str
    """As the bundle writes it: `LABEL` or `LABEL/subcode`."""
    execution: Execution

    @property
    def as_expected(self) -> bool:
        """Whether label and subcode are those written down."""
        return outcome(self.execution) == self.expected

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        execution = self.execution
        return {
            "name": self.name,
            "label": execution.label,
            "subcode": execution.subcode,
            "stage": execution.stage,
            "expected": self.expected,
            "as_expected": self.as_expected,
            "metrics": dict(execution.metrics),
            "seconds": round(execution.seconds, 4),
            "diagnostics": execution.diagnostics,
        }


@dataclass(frozen=True)
class VerifiedTask:
    """A task with all its candidates run."""

    id: str
    domain: Domain
    task_hash: str
    reference: VerifiedCandidate
    wrong: tuple[VerifiedCandidate, ...]

    @property
    def as_expected(self) -> bool:
        """Whether the reference passes and every wrong candidate fails as written down."""
        return self.reference.as_expected and all(candidate.as_expected for candidate in self.wrong)

    def describe(self) -> str:
        """One line per surprise; for a sound task one line that says so."""
        surprises = [candidate for candidate in (self.reference, *self.wrong) if not candidate.as_expected]
        if not surprises:
            return f"{self.id}: reference and {len(self.wrong)} wrong candidates as expected"
        lines = []
        for candidate in surprises:
            said = candidate.execution.diagnostics.strip().splitlines()
            what = f"{self.id}/{candidate.name}: expected {candidate.expected}, got {outcome(candidate.execution)}"
            lines.append(f"{what}: {said[0]}" if said else what)
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`: the reference's outcome on the first level, the wrong candidates under `wrong`."""
        row: dict[str, Any] = {"id": self.id, "domain": self.domain, "task_hash": self.task_hash}
        row |= {key: value for key, value in self.reference.to_json().items() if key != "name"}
        row["as_expected"] = self.as_expected
        row["wrong"] = [candidate.to_json() for candidate in self.wrong]
        return row


async def verify_tasks(
    tasks: Mapping[str, Task], backend: Backend, progress: Progress | None = None
) -> list[VerifiedTask]:
    """Run all candidates of all tasks, as many at once as the backend allows.

    A reference that does not pass is a row with label TOOL_ERROR and the reason, not an exception, so that one broken
    task does not hide the others; a missing tool still raises.

    Raises:
        MissingToolError: the backend's tool is missing.
        SandboxError: no sandbox can be had.
    """
    done = 0

    async def verify(task: Task) -> VerifiedTask:
        nonlocal done
        verified = await _verify_task(task, backend)
        done += 1
        if progress is not None:
            progress(done, len(tasks), task.id)
        return verified

    return await run_all([verify(task) for task in tasks.values()])


async def _verify_task(task: Task, backend: Backend) -> VerifiedTask:
    expected = [f"{wrong.label}/{wrong.subcode}" if wrong.subcode else str(wrong.label) for wrong in task.wrong]
    try:
        jobs = [(task, task.reference), *((task, wrong.code) for wrong in task.wrong)]
        reference, *others = await backend.execute_many(jobs)
    except ToolError as error:
        if type(error) is not ToolError:
            raise
        reference = Execution(Label.TOOL_ERROR, "reference", Stage.CHECK, f"{error}\n", fingerprint=backend.fingerprint)
        others = [reference] * len(task.wrong)
    candidates = zip(task.wrong, expected, others, strict=True)
    return VerifiedTask(
        id=task.id,
        domain=task.domain,
        task_hash=task.hash,
        reference=VerifiedCandidate("reference", Label.PASS, reference),
        wrong=tuple(VerifiedCandidate(wrong.name, text, execution) for wrong, text, execution in candidates),
    )
