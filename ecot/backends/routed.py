"""All domains behind one backend: each task goes to the tools of its domain."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

from ecot.backends.concurrency import Slots, run_all
from ecot.backends.protocol import Backend
from ecot.errors import DataError
from ecot.outcomes import Domain, Execution
from ecot.tasks.bundle import Task


class RoutedBackend:
    """Runs tasks of several domains, each on its own backend, under one bound on concurrency."""

    name = "real"

    def __init__(self, backends: Mapping[Domain, Backend], workers: int | None = None) -> None:
        """Join backends.

        Args:
            backends: the one of each domain.
            workers: executions at once over all domains; by default the number of cores that this process may use.
        """
        self._backends = dict(backends)
        self.domains = frozenset(self._backends)
        self._slots = Slots(len(os.sched_getaffinity(0)) if workers is None else workers)

    @property
    def fingerprint(self) -> str:
        """Hash of all fingerprints; an outcome carries that of its own domain."""
        parts = sorted(f"{domain} {backend.fingerprint}" for domain, backend in self._backends.items())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    async def execute(self, task: Task, code: str) -> Execution:
        """Run one candidate on the backend of its domain; see `Backend`.

        Raises:
            DataError: none of the backends runs the task's domain.
        """
        if task.domain not in self._backends:
            known = ", ".join(sorted(self.domains))
            raise DataError(f"task {task.id}: domain {task.domain} is not among those of this backend ({known})")
        async with self._slots.take():
            return await self._backends[task.domain].execute(task, code)

    async def execute_many(self, jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
        """Run several candidates at once, results in the order of `jobs`; see `Backend`."""
        return await run_all([self.execute(task, code) for task, code in jobs])
