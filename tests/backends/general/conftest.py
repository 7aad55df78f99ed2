"""The Python backend, or a skip with the reason."""

import asyncio

import pytest

from ecot.backends.general.backend import PythonBackend
from ecot.errors import ToolError
from ecot.tasks.registry import load_tasks


@pytest.fixture(scope="session")
def python():
    try:
        return PythonBackend(workers=2)
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def python_tasks():
    return load_tasks("builtin:general")


@pytest.fixture
def run_python(python):
    return lambda task, code: asyncio.run(python.execute(task, code))
