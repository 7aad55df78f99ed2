"""Start a process, drain it under caps, end it at a deadline or on cancellation, and leave nothing of it behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 16
_CLOSING_SECONDS = 5.0
"""How long to wait, after the launcher ended, for the last process to let go of the pipes: milliseconds in fact."""


class Channel:
    """A pipe out of the process, read into memory up to a cap."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.data = bytearray()
        self.truncated = False
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def drain(self) -> bool:
        """Read what is there; False once the other side has closed."""
        while True:
            try:
                chunk = os.read(self.reader, _CHUNK)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            room = self.cap - len(self.data)
            self.data += chunk[:room]
            self.truncated = self.truncated or len(chunk) > room

    def close_writer(self) -> None:
        """Drop this process's copy of the writing end, so that the reader sees the end of the stream."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        """Close both ends."""
        self.close_writer()
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1


@dataclass(frozen=True)
class ProcessEnd:
    """How the process ended."""

    returncode: int
    """As `subprocess` gives it: negative for a signal."""
    deadline_passed: bool
    seconds: float


class SupervisedProcess:
    """One process tree whose root is a sandbox launcher with a process namespace under it."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        stdin: int,
        stdout: Channel,
        stderr: Channel,
        others: Sequence[Channel],
        pass_fds: Sequence[int],
        stop_on_flood: bool,
    ) -> None:
        self._channels = [stdout, stderr, *others]
        self._flood_channels = [stdout, stderr] if stop_on_flood else []
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout.writer,
            stderr=stderr.writer,
            pass_fds=pass_fds,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )
        for channel in self._channels:
            channel.close_writer()

    async def wait(self, wall_seconds: float) -> ProcessEnd:
        """Wait for the end, or bring it about at the deadline, on a flood of output, or when cancelled."""
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[None] = loop.create_future()
        pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(pidfd, _resolve, finished)
        for channel in self._channels:
            loop.add_reader(channel.reader, self._on_readable, loop, channel, finished)
        deadline_passed = False
        try:
            await asyncio.wait_for(finished, wall_seconds)
        except TimeoutError:
            deadline_passed = True
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            for channel in self._channels:
                loop.remove_reader(channel.reader)
            self.end()
        return ProcessEnd(
            returncode=self._process.returncode,
            deadline_passed=deadline_passed,
            seconds=time.monotonic() - self._started,
        )

    def _on_readable(self, loop: asyncio.AbstractEventLoop, channel: Channel, finished: asyncio.Future[None]) -> None:
        if not channel.drain():
            loop.remove_reader(channel.reader)
        elif channel.truncated and channel in self._flood_channels:
            _resolve(finished)

    def end(self) -> None:
        """Kill what still runs, reap the launcher and read the pipes to their end."""
        pid = self._process.pid
        _kill_tree(pid)
        _, status = os.waitpid(pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._drain_to_end()

    def _drain_to_end(self) -> None:
        # The launcher may end a moment before the rest of its process namespace is gone. The namespace holds the
        # other ends of the pipes, so their closing tells that nothing is left.
        poll = select.poll()
        open_channels = {channel.reader: channel for channel in self._channels}
        for reader in open_channels:
            poll.register(reader, select.POLLIN)
        deadline = time.monotonic() + _CLOSING_SECONDS
        while open_channels and (left := deadline - time.monotonic()) > 0:
            for reader, _ in poll.poll(left * 1000):
                if not open_channels[reader].drain():
                    poll.unregister(reader)
                    del open_channels[reader]


def _resolve(finished: asyncio.Future[None]) -> None:
    if not finished.done():
        finished.set_result(None)


def _kill_tree(pid: int) -> None:
    """Kill an unreaped child and its children; the first process of a process namespace takes the rest along.

    `--die-with-parent` alone leaves a gap: a launcher killed while it still sets up leaves its child waiting for ever.
    Stopped, it can neither start nor reap a child, so the list of its children stays true until they are killed.
    """
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    for child in _children(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # A kernel without CONFIG_PROC_CHILDREN: --die-with-parent has to do.
        return []
