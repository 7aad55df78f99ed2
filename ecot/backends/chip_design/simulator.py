"""What the backend asks of a simulator, and what all simulators share."""

from __future__ import annotations

from typing import Literal, Protocol

from ecot.backends.chip_design.harness import CANDIDATE_FILE
from ecot.errors import DataError
from ecot.outcomes import Execution
from ecot.tasks.bundle import Task

SimulatorName = Literal["icarus", "verilator"]


class Simulator(Protocol):
    """Compiles a candidate with its testbench, runs both and reads the verdict."""

    title: str
    """Name and version, for messages."""
    identity: str
    """Changes with the tool, its flags and the secret: part of the fingerprint."""

    async def judge(self, task: Task, code: str, samples: int | None) -> Execution:
        """The outcome of one candidate.

        Args:
            task: of this domain.
            code: neither empty nor too large, without NUL characters.
            samples: how many samples have to be checked; None while the reference sets the number.

        Raises:
            DataError: the bundle is incomplete.
            ToolError: the tool failed for a reason that is not the candidate's.
        """
        ...


def environment_files(task: Task) -> dict[str, bytes]:
    """The files that a candidate may include.

    Raises:
        DataError: one of them has the candidate's name.
    """
    files = {name: text.encode() for name, text in task.environment.items()}
    if CANDIDATE_FILE in files:
        raise DataError(f"task {task.id}: key 'environment': {CANDIDATE_FILE!r} is the candidate's own name")
    return files
