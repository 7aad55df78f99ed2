"""The real compiler and emulator; a machine without them skips with the reason."""

import asyncio

import pytest

from ecot.tasks.registry import load_tasks


@pytest.fixture(scope="session")
def stm32(started):
    return started("stm32")


@pytest.fixture(scope="session")
def firmware_tasks():
    return load_tasks("builtin:embedded")


@pytest.fixture
def run(stm32):
    return lambda task, code: asyncio.run(stm32.execute(task, code))
