"""Run tools on candidates' texts in sandboxes that stay: for compilers, linters, simulators and emulators.

Making a sandbox and taking it down costs more than many a tool needs for a small file. Here one sandbox serves one
command after the other; files and processes of a command are gone before the next. What is executed as a program of
the machine, a candidate's own, belongs into a sandbox of its own: `Sandbox.run`.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Protocol

from ecot.backends.sandbox.bubblewrap import STACK_BYTES, base_environment
from ecot.backends.sandbox.command import MEBIBYTE, SandboxCommand, SandboxResult
from ecot.backends.sandbox.fork_server import ForkCommand, ForkPool, ForkResult, ForkServerSpec
from ecot.backends.sandbox.sandbox import Sandbox
from ecot.errors import SandboxError

_MODULE = "ecot.backends.sandbox.fork_tool"


class CommandRunner(Protocol):
    """Who runs commands: a sandbox, or a pool of sandboxes that stay."""

    async def run(self, command: SandboxCommand) -> SandboxResult:
        """Run one command to its end or to its first limit; see `Sandbox.run`."""
        ...


class ToolPool:
    """Like a `Sandbox`, for commands that run tools; several times as fast to start.

    A command sees what it would see in a `Sandbox`, and is held by the same limits. Survives event loops; closing it,
    or the end of this process, ends its sandboxes.
    """

    def __init__(
        self,
        *,
        workers: int,
        read_only: Sequence[Path] = (),
        process_files: bool = False,
        scratch_bytes: int = 64 * MEBIBYTE,
        sandbox: Sandbox | None = None,
    ) -> None:
        """Prepare a pool; a sandbox is made when the first command needs it.

        Args:
            workers: commands at once, and so sandboxes, of some 15 MB each.
            read_only: all host paths that the commands' tools need.
            process_files: whether the commands need a `/proc`.
            scratch_bytes: the largest of the commands' `Limits.scratch_bytes`.
            sandbox: where they run; by default `find_sandbox()`.

        Raises:
            SandboxError: no sandbox can be had.
        """
        self._spec = ForkServerSpec(
            modules=(_MODULE,),
            scratch_bytes=scratch_bytes,
            read_only=tuple(dict.fromkeys(read_only)),
            process_files=process_files,
            memory_bytes=None,
            folder="",
        )
        self._pool = ForkPool(self._spec, workers=workers, sandbox=sandbox)

    async def run(self, command: SandboxCommand) -> SandboxResult:
        """Run one command; see `Sandbox.run`. Cancelling ends its sandbox with all that is in it.

        Raises:
            SandboxError: a sandbox could not be made, or was lost.
            ValueError: the command needs what the pool was not made for.
        """
        self._check(command)
        limits = command.limits
        arguments = {
            "argv": command.argv,
            "environment": {**base_environment(), **command.environment},
            "memory_bytes": limits.memory_bytes,
            "stack_bytes": STACK_BYTES,
        }
        result = await self._pool.run(
            ForkCommand(f"{_MODULE}:execute", arguments, command.inputs, command.outputs, limits, command.stop_on_flood)
        )
        if result.server_lost:
            raise SandboxError(f"the sandbox was killed while it ran {command.argv[0]}, which no tool does")
        return _plain(result)

    def close(self) -> None:
        """End all sandboxes; the pool can be used again, with new ones."""
        self._pool.close()

    def _check(self, command: SandboxCommand) -> None:
        hidden = [str(path) for path in command.read_only if path not in self._spec.read_only]
        if hidden:
            raise ValueError(f"the command needs {hidden[0]}, which the pool's `read_only` does not show")
        if command.process_files and not self._spec.process_files:
            raise ValueError("the command needs a /proc; make the pool with `process_files`")
        if command.limits.scratch_bytes > self._spec.scratch_bytes:
            raise ValueError(
                f"the command may fill {command.limits.scratch_bytes} bytes, the pool's `scratch_bytes` are "
                f"{self._spec.scratch_bytes}"
            )


def _plain(result: ForkResult) -> SandboxResult:
    """As `Sandbox.run` gives it: an exit code of 128 + n, which is how shells pass on a death by signal n, is one."""
    values = {field.name: getattr(result, field.name) for field in fields(SandboxResult)}
    code = result.exit_code
    if code is not None and 128 < code <= 128 + signal.NSIG:
        values |= {"exit_code": None, "signal": code - 128, "cpu_exhausted": code - 128 == signal.SIGXCPU}
    return SandboxResult(**values)
