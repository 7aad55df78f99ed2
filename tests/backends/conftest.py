"""The real tools; a machine without them skips with the reason, it never runs bare."""

import asyncio
import contextlib
import os
import secrets
import time
from pathlib import Path

import pytest

from ecot.backends.sandbox import SandboxCommand, find_sandbox
from ecot.backends.sandbox.control_groups import find_control_groups
from ecot.errors import ToolError
from ecot.tasks.registry import load_tasks


class Marker:
    """A number of seconds for `sleep` that no other process on this machine has."""

    def __init__(self):
        self.text = f"600.{secrets.randbelow(10**9):09d}"

    def __str__(self):
        return self.text

    def left(self, within=0.0):
        """Host processes whose command line holds it, once there are none or the time is over."""
        deadline = time.monotonic() + within
        while (found := self._find()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def reaches(self, count, within):
        """Whether so many are seen at once in this time."""
        deadline = time.monotonic() + within
        while len(self._find()) < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _find(self):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.text.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found


@pytest.fixture
def marker():
    return Marker()


@pytest.fixture
def cancel(marker):
    """Cancels what has been started after each of some delays in seconds; nothing with the marker may be left of it."""

    async def cancelled(start, delay):
        job = asyncio.create_task(start())
        await asyncio.sleep(delay)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job

    def check(start, delays, within=0.0):
        for delay in delays:
            asyncio.run(cancelled(start, delay))
            assert marker.left(within) == [], f"after {delay} s"

    return check


@pytest.fixture
def nothing_left():
    """Makes a context after which this process holds no more descriptors and control groups than before it."""
    groups = find_control_groups()
    parents = groups.parents if groups else ()

    def held():
        folders = {folder for parent in parents for folder in parent.glob(f"ecot-{os.getpid()}-*")}
        return folders, len(os.listdir("/proc/self/fd"))

    @contextlib.contextmanager
    def check():
        before = held()
        yield
        assert held() == before

    return check


@pytest.fixture(scope="session")
def sandbox():
    try:
        return find_sandbox()
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture
def shell(sandbox):
    """Run a shell script in the sandbox."""

    def run(script, **options):
        return asyncio.run(sandbox.run(SandboxCommand(("/bin/sh", "-c", script), **options)))

    return run


@pytest.fixture(scope="session")
def icarus(started):
    """The simulator alone: most tests are about its verdict."""
    return started("icarus", lint=False, synthesis=False)


@pytest.fixture(scope="session")
def chip_design(started):
    """The backend as it comes, with linter and synthesis."""
    return started("icarus")


@pytest.fixture(scope="session")
def tasks():
    return load_tasks("builtin:chip_design")


@pytest.fixture
def execute(icarus):
    return lambda task, code: asyncio.run(icarus.execute(task, code))
