"""A backend that runs nothing twice: planning a trajectory and then walking it asks for the same executions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ecot.backends.protocol import Backend
from ecot.outcomes import Domain, Execution
from ecot.tasks.bundle import Task


@dataclass
class MemoBackend:
    """Remembers what `inner` said about each (task, code). One per trajectory, so memory stays small.

    A remembered execution has `seconds` 0, as anything that comes from a cache.
    """

    inner: Backend
    executions: int = 0
    """How many candidates `inner` really ran."""
    seconds: float = 0.0
    """Wall time of those, summed."""
    name: str = field(init=False)
    domains: frozenset[Domain] = field(init=False)
    _seen: dict[tuple[str, str], Execution] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name, self.domains = self.inner.name, self.inner.domains

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the backend behind."""
        return self.inner.fingerprint

    async def execute(self, task: Task, code: str) -> Execution:
        """Run a candidate, or say again what it gave."""
        key = (task.id, code)
        if key not in self._seen:
            execution = await self.inner.execute(task, code)
            self.executions += 1
            self.seconds += execution.seconds
            self._seen[key] = replace(execution, seconds=0.0)
            return execution
        return self._seen[key]

    async def execute_many(self, jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
        """Run several candidates; those not seen yet go to the backend behind together."""
        fresh = list(dict.fromkeys((task.id, code) for task, code in jobs if (task.id, code) not in self._seen))
        tasks = {task.id: task for task, _ in jobs}
        results = await self.inner.execute_many([(tasks[id], code) for id, code in fresh])
        for key, execution in zip(fresh, results, strict=True):
            self.executions += 1
            self.seconds += execution.seconds
            self._seen[key] = replace(execution, seconds=0.0)
        return [self._seen[task.id, code] for task, code in jobs]
