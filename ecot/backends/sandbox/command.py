"""What is run in a sandbox, under which limits, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MEBIBYTE = 1 << 20

_WALL_FACTOR = 12.0
"""Wall time per processor time of a tool."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def check_file_name(name: str) -> None:
    """Refuse a name that could lead out of the working directory.

    Raises:
        ValueError: says what a name may be.
    """
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"file name {name!r} must be relative, without '..', spaces or a leading dot or dash")


@dataclass(frozen=True)
class Limits:
    """Caps of one command. Reaching one ends the command, never the caller."""

    cpu_seconds: int = 10
    """Processor time of each process. Unlike wall time it does not depend on what else the machine does."""
    wall_seconds: float = 60.0
    """Real time of the whole command."""
    memory_bytes: int = 1024 * MEBIBYTE
    """Address space of each process; where control groups can be made, also the memory of all together."""
    scratch_bytes: int = 64 * MEBIBYTE
    """The private file system (in memory) that holds inputs, outputs and temporary files; also each file's cap."""
    processes: int = 64
    """Processes and threads alive at once. The kernel counts them only for an unprivileged user."""
    open_files: int = 128
    output_bytes: int = MEBIBYTE
    """Kept of standard output, and as much of standard error."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"limit {name} is {value}; it must be positive")


def tool_limits(cpu_seconds: int, memory_mib: int, output_bytes: int = MEBIBYTE) -> Limits:
    """Caps of a compiler, a simulator or an emulator; of real time so much that a busy machine costs no verdict."""
    return Limits(
        cpu_seconds=cpu_seconds,
        wall_seconds=cpu_seconds * _WALL_FACTOR,
        memory_bytes=memory_mib * MEBIBYTE,
        output_bytes=output_bytes,
        processes=16,
    )


@dataclass(frozen=True)
class SandboxCommand:
    """One command with the files that it reads and those that it leaves."""

    argv: tuple[str, ...]
    """Program (absolute path, under the system's directories or `read_only`) and arguments."""
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    """File name to content, laid into the working directory; all may be written and executed there."""
    outputs: tuple[str, ...] = ()
    """Files of the working directory to bring out when the command ends by itself."""
    limits: Limits = field(default_factory=Limits)
    read_only: tuple[Path, ...] = ()
    """Further host paths that the tool needs, visible read-only at the same place."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the otherwise empty environment."""
    process_files: bool = False
    """Show a read-only `/proc` that tells of the command's own processes, for tools that refuse to start without."""
    stop_on_flood: bool = True
    """Kill the command as soon as it has printed more than `limits.output_bytes`; otherwise read on and discard."""

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0].startswith("/"):
            raise ValueError(f"argv {self.argv!r} must start with an absolute path")
        for name in (*self.inputs, *self.outputs):
            check_file_name(name)


@dataclass(frozen=True)
class SandboxResult:
    """How a command ended."""

    exit_code: int | None
    """None if it was killed."""
    signal: int | None
    """The signal that ended it (its own, or the one sent by a limit), or None."""
    stdout: bytes
    stderr: bytes
    outputs: Mapping[str, bytes]
    """The declared outputs that exist as regular files; empty if the command was killed by a limit of time."""
    cpu_exhausted: bool
    """`Limits.cpu_seconds` was used up: the command's own doing, whatever else the machine does."""
    deadline_passed: bool
    """`Limits.wall_seconds` passed before that; may be the machine's load."""
    output_truncated: bool
    """More was printed than `Limits.output_bytes`, or the outputs did not fit `Limits.scratch_bytes`."""
    seconds: float
    """Wall time with the sandbox's own start-up, about 10 ms."""
    memory_exhausted: bool = False
    """The processes together used up `Limits.memory_bytes` and one was killed; known only with control groups."""

    @property
    def timed_out(self) -> bool:
        """Wall or processor time was used up."""
        return self.cpu_exhausted or self.deadline_passed
