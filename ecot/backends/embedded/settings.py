"""Limits and connections that a firmware task may set for itself."""

from __future__ import annotations

from pydantic import Field, model_validator

from ecot.backends.task_settings import task_settings
from ecot.config import Config
from ecot.errors import DataError
from ecot.tasks.bundle import Task

KIBIBYTE = 1 << 10

_CANDIDATE_RAM = 96 * KIBIBYTE
"""What the linker script leaves below the test bench's share."""


class EmbeddedSettings(Config):
    """The `settings` of a task; the defaults suit a driver or a building block of some hundred lines."""

    flash_kib: int = Field(64, gt=0, le=448)
    """Flash for the candidate's code and constants, library code included, KiB."""
    ram_bytes: int = Field(16 * KIBIBYTE, gt=0, le=_CANDIDATE_RAM)
    """RAM for the candidate's variables, bytes; the stack comes on top."""
    stack_bytes: int = Field(4 * KIBIBYTE, ge=512, le=_CANDIDATE_RAM, multiple_of=8)
    """Stack of the thread that runs test bench and candidate, bytes."""
    deadline_ms: int = Field(400, gt=0, le=10_000)
    """Device time until the run is a timeout; the device executes 125,000 instructions in 1 ms."""
    compile_seconds: int = Field(10, gt=0)
    """Processor time of compiler and linker, seconds."""
    run_seconds: int = Field(2, gt=0)
    """Processor time of the emulator, seconds: for a candidate that switches the device's own deadline off."""
    memory_mib: int = Field(512, gt=0)
    """Address space of compiler and emulator, MiB."""
    output_kib: int = Field(64, gt=0)
    """What the device may print, KiB."""
    usart2: bool = False
    """Whether the bytes that the device sends on USART2 are compared too."""
    usart2_input: str = ""
    """Hidden file whose lines (all but the last shuffled, ended by CR LF) arrive on USART2. No deadline then."""

    @model_validator(mode="after")
    def _fits(self) -> EmbeddedSettings:
        if self.ram_bytes + self.stack_bytes > _CANDIDATE_RAM:
            raise ValueError(f"ram_bytes and stack_bytes together may be at most {_CANDIDATE_RAM}")
        return self


def read_settings(task: Task) -> EmbeddedSettings:
    """Validate a task's settings.

    Raises:
        DataError: names the task and the key.
    """
    settings = task_settings(EmbeddedSettings, task)
    if settings.usart2_input and settings.usart2_input not in task.hidden:
        raise DataError(f"task {task.id}: settings key 'usart2_input': no hidden file {settings.usart2_input!r}")
    return settings
