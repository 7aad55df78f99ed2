"""The real tools; a machine without them skips with the reason."""

import asyncio

import pytest

from ecot.tasks.registry import load_tasks


@pytest.fixture(scope="session")
def gpu(started):
    return started("gpu", device="cpu")


@pytest.fixture(scope="session")
def gpu_tasks():
    return load_tasks("builtin:gpu_optimization")


@pytest.fixture
def run(gpu):
    """Run one candidate."""
    return lambda task, code: asyncio.run(gpu.execute(task, code))
