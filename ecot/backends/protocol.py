"""What every backend offers, real tools and world model alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ecot.outcomes import Domain, Execution
from ecot.tasks.bundle import Task


@runtime_checkable
class Backend(Protocol):
    """Runs candidates. Errors of a candidate are results; errors of the tool or the sandbox are exceptions."""

    name: str
    """As the configuration names it."""
    domains: frozenset[Domain]
    """Which tasks it can run."""

    @property
    def fingerprint(self) -> str:
        """Hash of tool, version, flags and harness."""
        ...

    async def execute(self, task: Task, code: str) -> Execution:
        """Run one candidate.

        The same inputs give the same label and the same normalised diagnostics.

        Raises:
            ToolError: the tool, the harness or the reference is broken.
        """
        ...

    async def execute_many(self, jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
        """Run several candidates, concurrently, results in the order of `jobs`.

        Cancelling the call stops the executions that are under way and leaves no process behind.
        """
        ...
