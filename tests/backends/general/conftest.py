"""The Python backend, or a skip with the reason."""

import asyncio

import pytest

from ecot.tasks.registry import load_tasks


@pytest.fixture(scope="session")
def python(started):
    return started("python")


@pytest.fixture(scope="session")
def python_tasks():
    return load_tasks("builtin:general")


@pytest.fixture
def run_python(python):
    return lambda task, code: asyncio.run(python.execute(task, code))
