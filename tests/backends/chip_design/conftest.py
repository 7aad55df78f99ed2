"""Simulation by Verilator; a machine without it skips with the reason."""

import pytest

from ecot.backends.chip_design.backend import IcarusBackend
from ecot.backends.chip_design.verilator import VerilatorSimulator
from ecot.errors import ToolError


@pytest.fixture(scope="session")
def verilator():
    """The simulator alone; its runtime is compiled once for all tests."""
    try:
        return IcarusBackend(workers=2, simulator="verilator", lint=False, synthesis=False)
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def simulator(sandbox):
    """To screen without building."""
    try:
        return VerilatorSimulator(sandbox, b"secret")
    except ToolError as error:
        pytest.skip(str(error))
