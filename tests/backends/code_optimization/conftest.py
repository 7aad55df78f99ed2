"""The assembly backend, or a skip with the reason."""

import asyncio

import pytest

from ecot.tasks.registry import load_tasks


@pytest.fixture(scope="session")
def assembly(started):
    return started("assembly")


@pytest.fixture(scope="session")
def code_tasks():
    return load_tasks("builtin:code_optimization")


@pytest.fixture
def run_code(assembly):
    return lambda task, code: asyncio.run(assembly.execute(task, code))
