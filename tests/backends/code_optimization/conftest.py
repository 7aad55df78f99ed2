"""The assembly backend, or a skip with the reason."""

import asyncio

import pytest

from ecot.backends.code_optimization.backend import AssemblyBackend
from ecot.errors import ToolError
from ecot.tasks.registry import load_tasks


@pytest.fixture(scope="session")
def assembly():
    try:
        return AssemblyBackend(workers=2)
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def code_tasks():
    return load_tasks("builtin:code_optimization")


@pytest.fixture
def run_code(assembly):
    return lambda task, code: asyncio.run(assembly.execute(task, code))
