"""Limits that a chip design task may set for itself."""

from __future__ import annotations

from pydantic import Field

from ecot.backends.task_settings import task_settings
from ecot.config import Config
from ecot.tasks.bundle import Task

MEBIBYTE = 1 << 20


class ChipDesignSettings(Config):
    """The `settings` of a task; the defaults suit designs of some hundred lines."""

    compile_seconds: int = Field(10, gt=0)
    """Processor time of the compiler, seconds."""
    run_seconds: int = Field(3, gt=0)
    """Processor time of the simulation, seconds."""
    build_seconds: int = Field(60, gt=0)
    """Processor time of the C++ compiler, seconds; for simulation by Verilator only."""
    synthesis: bool = True
    """Whether a candidate that passes must also be free of latches and loops, as far as the reference is."""
    synthesis_seconds: int = Field(20, gt=0)
    """Processor time of the synthesis, seconds."""
    memory_mib: int = Field(1024, gt=0)
    """Address space of compiler and simulator, MiB."""
    output_kib: int = Field(256, gt=0)
    """What a simulation may print, KiB."""


def read_settings(task: Task) -> ChipDesignSettings:
    """Validate a task's settings.

    Raises:
        DataError: names the task and the key.
    """
    return task_settings(ChipDesignSettings, task)
