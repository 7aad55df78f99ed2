"""The part of `Backend` that is the same for all tools: who may run, how many at once, and how long it took."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from ecot.backends.concurrency import Slots, run_all
from ecot.errors import DataError
from ecot.outcomes import Domain, Execution
from ecot.tasks.bundle import Task

DEFAULT_SECRET = "ecot"
"""Key of nonces, names and stimuli where none is given: public, so that outcomes are the same everywhere."""

SHORT = 2
"""Short executions per core: while one waits for the kernel to make or end a process, the other has the core."""


class ToolBackend(ABC):
    """Runs candidates with real tools; a domain says how one is judged."""

    name: str
    domains: frozenset[Domain]

    def __init__(self, workers: int, fingerprint: str) -> None:
        """Bound the executions.

        Args:
            workers: executions at once.
            fingerprint: of tools, flags, secret and harness; see `fingerprint_of`.
        """
        self._slots = Slots(workers)
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        """Hash of tools, flags, secret and harness."""
        return self._fingerprint

    async def execute(self, task: Task, code: str) -> Execution:
        """Run one candidate; see `ecot.backends.protocol.Backend`.

        Raises:
            DataError: the task is not of this domain or its bundle is incomplete.
            ToolError: the reference does not pass, or tools or sandbox are broken.
        """
        if task.domain not in self.domains:
            raise DataError(f"task {task.id}: domain {task.domain} cannot run on {self.name}")
        async with self._slots.take():
            await self._prepare(task, code)
            started = time.monotonic()
            execution = await self._outcome(task, code)
            seconds = time.monotonic() - started
        return replace(execution, seconds=seconds, fingerprint=self._fingerprint)

    async def execute_many(self, jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
        """Run several candidates at once, results in the order of `jobs`; see `Backend`."""
        return await run_all([self.execute(task, code) for task, code in jobs])

    async def _prepare(self, task: Task, code: str) -> None:  # noqa: B027 - most domains have nothing to see before
        """See, before the clock starts, that the task can be judged; whatever this finds is to be kept."""

    @abstractmethod
    async def _outcome(self, task: Task, code: str) -> Execution:
        """Judge one candidate of this domain."""


def default_workers(per_core: int = 1) -> int:
    """Executions at once: so many for each core that this process may use."""
    return per_core * len(os.sched_getaffinity(0))
