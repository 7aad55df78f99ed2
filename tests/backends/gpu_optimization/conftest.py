"""The real tools; a machine without them skips with the reason."""

import asyncio

import pytest

from ecot.backends.gpu_optimization.backend import GpuBackend
from ecot.errors import ToolError
from ecot.tasks.registry import load_tasks


@pytest.fixture(scope="session")
def gpu():
    try:
        return GpuBackend(workers=2, device="cpu")
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def gpu_tasks():
    return load_tasks("builtin:gpu_optimization")


@pytest.fixture
def run(gpu):
    """Run one candidate."""
    return lambda task, code: asyncio.run(gpu.execute(task, code))
