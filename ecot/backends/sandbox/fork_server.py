"""Run many requests on modules that take seconds to import: sandboxed servers that fork a child for each request.

What is inside is `fork_program.py`. One server runs one request at a time; a pool keeps as many as it has workers,
over event loops, and replaces those that a request brought down.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ecot.backends.concurrency import Slots
from ecot.backends.sandbox import fork_wire
from ecot.backends.sandbox.bubblewrap import WORK_DIR, Launcher, base_environment, sandbox_argv
from ecot.backends.sandbox.command import Limits
from ecot.backends.sandbox.control_groups import Group
from ecot.backends.sandbox.fork_command import ForkCommand, ForkResult, ForkServerSpec
from ecot.backends.sandbox.interpreter import python_folders, reaching
from ecot.backends.sandbox.process import Channel, SupervisedProcess
from ecot.backends.sandbox.sandbox import Sandbox, find_sandbox, memory_file
from ecot.errors import SandboxError

__all__ = ["ForkCommand", "ForkPool", "ForkResult", "ForkServerSpec"]

_PROGRAM_FOLDER = "server"
_BOOT = """import sys
sys.path.insert(0, {program!r})
from ecot.backends.sandbox.fork_program import main
main({modules!r}, {work!r})
"""
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    # Threads would not survive a fork, and a request has one core anyway.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_GRACE_SECONDS = 60.0
"""How much later than a request's own deadline a server may answer, before it counts as lost."""
_IDLE_SHARE = 0.01
"""Of a processor; who has work to do gets more, even on a machine with fifty others per core."""
_MESSAGE_BYTES = 1 << 16


class ForkPool:
    """Servers of one kind. Survives event loops; closing it, or the end of this process, ends them all."""

    def __init__(self, spec: ForkServerSpec, *, workers: int, sandbox: Sandbox | None = None) -> None:
        """Prepare a pool; a server is started when the first request needs it.

        Args:
            spec: what the servers are.
            workers: requests at once, and so servers.
            sandbox: where they run; by default `find_sandbox()`.

        Raises:
            SandboxError: no sandbox can be had.
        """
        self.spec = spec
        self._sandbox = find_sandbox() if sandbox is None else sandbox
        self._slots = Slots(workers)
        self._idle: list[_Server] = []
        self._closer = weakref.finalize(self, _end_all, self._idle)

    async def run(self, command: ForkCommand) -> ForkResult:
        """Run one request, when a server is free. Cancelling ends its server; nothing stays behind.

        Raises:
            SandboxError: a server could not be started, or is broken.
            ValueError: the request does not fit the servers.
        """
        self._check(command)
        async with self._slots.take():
            for _ in range(2):
                server = await self._take()
                try:
                    result = await server.run(command)
                except BaseException:
                    server.end()
                    raise
                if server.usable:
                    self._idle.append(server)
                else:
                    server.end()
                if result is not None:
                    return result
            raise SandboxError("the fork server ended twice before it began a request: " + server.said())

    def close(self) -> None:
        """End all servers; the pool can be used again, with new ones."""
        _end_all(self._idle)

    async def _take(self) -> _Server:
        while self._idle:
            server = self._idle.pop()
            if server.alive():
                return server
            server.end()
        server = _Server(self.spec, self._sandbox.launcher)
        try:
            await server.wait_ready(self.spec.start_seconds)
        except BaseException:
            server.end()
            raise
        return server

    def _check(self, command: ForkCommand) -> None:
        module, _, function = command.entry.partition(":")
        if module not in self.spec.modules or not function:
            allowed = ", ".join(self.spec.modules)
            raise ValueError(f"entry {command.entry!r} must be MODULE:FUNCTION with a module among {allowed}")
        size = sum(map(len, command.inputs.values()))
        if size > self.spec.scratch_bytes:
            raise ValueError(f"inputs of {size} bytes exceed the servers' scratch_bytes of {self.spec.scratch_bytes}")


class _Server:
    """One server process and the connection to it."""

    def __init__(self, spec: ForkServerSpec, launcher: Launcher) -> None:
        self.usable = True
        self._own_memory = spec.memory_bytes is None
        limits = _server_limits(spec)
        self._caps = _caps(limits)
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        self._printed, self._messages = Channel(_MESSAGE_BYTES), Channel(_MESSAGE_BYTES)
        # Closed in the reverse order: the process first, the group, when nothing is left in it, last.
        self._resources = ExitStack()
        for resource in (self._printed, self._messages, self._socket):
            self._resources.callback(resource.close)
        inputs = {
            f"{_PROGRAM_FOLDER}/{name}": memory_file(name, content) for name, content in spec.program_files().items()
        }
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            self._group = self._resources.enter_context(_group(launcher, limits))
            argv = _server_argv(spec, launcher, null, inputs)
            self._process = SupervisedProcess(
                argv if self._group is None else self._group.enter(argv),
                base_environment(),
                stdin=theirs.fileno(),
                stdout=self._printed,
                stderr=self._messages,
                others=[],
                pass_fds=[null, *inputs.values()],
                stop_on_flood=False,
            )
        except OSError as error:
            self._resources.close()
            raise SandboxError(f"the sandbox could not be started: {error}") from error
        finally:
            theirs.close()
            for descriptor in (null, *inputs.values()):
                os.close(descriptor)
        self._resources.callback(self._process.end)

    async def wait_ready(self, seconds: float) -> None:
        """Wait until the modules are imported.

        Raises:
            SandboxError: they cannot be, or not in time.
        """
        try:
            message = await asyncio.wait_for(self._receive(), seconds)
        except TimeoutError:
            raise SandboxError(f"the fork server was not ready within {seconds:.0f} s: {self.said()}") from None
        if message is None:
            self.end()
            raise SandboxError(f"the fork server could not be started: {self.said()}")

    async def run(self, command: ForkCommand) -> ForkResult | None:
        """Run one request; None if the server had ended before it began."""
        started = time.monotonic()
        for channel in (self._printed, self._messages):
            channel.drain()
            channel.data.clear()
        module, _, function = command.entry.partition(":")
        header = {
            "module": module,
            "function": function,
            "arguments": command.arguments,
            "outputs": command.outputs,
            "limits": asdict(command.limits),
            "stop_on_flood": command.stop_on_flood,
        }
        killed_before = self._num_killed()
        if self._own_memory and self._group is not None and _caps(command.limits) != self._caps:
            self._group.set_limits(command.limits)
            self._caps = _caps(command.limits)
        if not await self._send(header, command) or await self._receive() is None:
            self.usable = False
            return None
        try:
            reply = await asyncio.wait_for(self._receive(), command.limits.wall_seconds + _GRACE_SECONDS)
        except TimeoutError:
            reply = None
        seconds = time.monotonic() - started
        if reply is None:
            return self._explain_loss(seconds, self._num_killed() > killed_before)
        self.usable = not reply[0]["retired"]
        result = _result(*reply, command.limits, seconds)
        return replace(result, memory_exhausted=self._num_killed() > killed_before)

    def _num_killed(self) -> int:
        """How many processes were killed so far because the group's memory was used up."""
        return 0 if self._group is None else self._group.num_killed

    def _explain_loss(self, seconds: float, memory_exhausted: bool) -> ForkResult:
        self.end()
        if self._messages.data:
            # A request cannot write there: the server itself went wrong.
            raise SandboxError(f"the fork server ended in the midst of a request: {self.said()}")
        return _lost(seconds, memory_exhausted)

    def end(self) -> None:
        """Kill the server with all that is in its sandbox, and let go of it."""
        self.usable = False
        self._resources.close()

    def alive(self) -> bool:
        """Whether it still holds the connection; an idle server never speaks."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False

    def said(self) -> str:
        """What it wrote to standard error: the reason why it ended."""
        text = bytes(self._messages.data).decode("utf-8", "replace").strip()
        return text or "it said nothing"

    async def _send(self, header: dict[str, Any], command: ForkCommand) -> bool:
        loop = asyncio.get_running_loop()
        try:
            for piece in fork_wire.pack(header, command.inputs):
                await loop.sock_sendall(self._socket, piece)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    async def _receive(self) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """The next message; None if the server is gone."""
        prefix = await self._read(fork_wire.PREFIX_BYTES)
        if prefix is None:
            return None
        header_size, body_size = fork_wire.sizes_of(prefix)
        header, body = await self._read(header_size), await self._read(body_size)
        return None if header is None or body is None else fork_wire.unpack(header, body)

    async def _read(self, size: int) -> bytes | None:
        loop = asyncio.get_running_loop()
        data = bytearray()
        while len(data) < size:
            try:
                chunk = await loop.sock_recv(self._socket, min(size - len(data), 1 << 20))
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            data += chunk
        return bytes(data)


def _caps(limits: Limits) -> tuple[int, ...]:
    """What a control group caps."""
    return limits.memory_bytes, limits.scratch_bytes, limits.processes


def _group(launcher: Launcher, limits: Limits) -> AbstractContextManager[Group | None]:
    return nullcontext() if launcher.groups is None else launcher.groups.group(limits)


def _server_limits(spec: ForkServerSpec) -> Limits:
    """Those of the server; each child gets its own."""
    return Limits(
        cpu_seconds=1 << 30,
        memory_bytes=Limits.memory_bytes if spec.memory_bytes is None else spec.memory_bytes,
        scratch_bytes=spec.scratch_bytes,
        processes=1024,
        open_files=4096,
    )


def _server_argv(spec: ForkServerSpec, launcher: Launcher, null: int, inputs: Mapping[str, int]) -> list[str]:
    if spec.devices and launcher.interpreter:
        raise SandboxError(f"{launcher.name} cannot show devices ({spec.devices[0]}); install bubblewrap")
    devices = [word for device in spec.devices for word in ("--dev-bind", str(device), str(device))]
    folders = (*python_folders(), *spec.read_only)
    launcher = reaching(replace(launcher, prefix=(*launcher.prefix, *devices)), folders)
    boot = _BOOT.format(
        program=f"{WORK_DIR}/{_PROGRAM_FOLDER}", modules=spec.modules, work=str(Path(WORK_DIR, spec.folder))
    )
    # As isolated as by -I, which would also ignore the seed of hashes.
    command = (sys.executable, "-s", "-P", "-B", "-c", boot)
    # What a server maps and what it uses are far apart: the control group caps the latter.
    limits = replace(_server_limits(spec), memory_bytes=1 << 46)
    environment = {**_ENVIRONMENT, **spec.environment}
    return sandbox_argv(launcher, command, limits, inputs, folders, null, environment, spec.process_files)


def _result(reply: dict[str, Any], files: dict[str, bytes], limits: Limits, seconds: float) -> ForkResult:
    cpu_seconds, killed_by = reply["cpu_seconds"], reply["signal"]
    # The hard limit's SIGKILL comes to who ignores SIGXCPU.
    exhausted = killed_by == signal.SIGXCPU or (killed_by == signal.SIGKILL and cpu_seconds >= limits.cpu_seconds)
    stdout, stderr = files.pop("/stdout"), files.pop("/stderr")
    return ForkResult(
        exit_code=reply["exit_code"],
        signal=killed_by,
        stdout=stdout,
        stderr=stderr,
        outputs=files,
        cpu_exhausted=exhausted,
        deadline_passed=reply["deadline_passed"] and not exhausted,
        output_truncated=reply["output_truncated"],
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        idle=reply["deadline_passed"] and reply["late_share"] < _IDLE_SHARE,
    )


def _lost(seconds: float, memory_exhausted: bool) -> ForkResult:
    return ForkResult(
        exit_code=None,
        signal=int(signal.SIGKILL),
        stdout=b"",
        stderr=b"",
        outputs={},
        cpu_exhausted=False,
        deadline_passed=False,
        output_truncated=False,
        seconds=seconds,
        memory_exhausted=memory_exhausted,
        server_lost=not memory_exhausted,
    )


def _end_all(servers: list[_Server]) -> None:
    while servers:
        servers.pop().end()
