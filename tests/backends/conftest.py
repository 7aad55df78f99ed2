"""The real tools; a machine without them skips with the reason, it never runs bare."""

import asyncio

import pytest

from ecot.backends.chip_design.backend import IcarusBackend
from ecot.backends.sandbox import SandboxCommand, find_sandbox
from ecot.errors import ToolError
from ecot.tasks.registry import load_tasks


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
def icarus():
    """The simulator alone: most tests are about its verdict."""
    try:
        return IcarusBackend(workers=2, lint=False, synthesis=False)
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def chip_design():
    """The backend as it comes, with linter and synthesis."""
    try:
        return IcarusBackend(workers=2)
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tasks():
    return load_tasks("builtin:chip_design")


@pytest.fixture
def execute(icarus):
    return lambda task, code: asyncio.run(icarus.execute(task, code))
