"""Limits and tolerances that a task of this domain may set for itself."""

from __future__ import annotations

from pydantic import Field

from ecot.backends.task_settings import task_settings
from ecot.config import Config
from ecot.errors import DataError
from ecot.tasks.bundle import Task

CASES_FILE = "cases.py"
"""Hidden: `cases(rng)` yields tuples of arguments; the reference says what comes of them."""
CHECK_FILE = "check.py"
"""Hidden, instead of the former: `check(candidate)` asserts, as in HumanEval."""


class GeneralSettings(Config):
    """The `settings` of a task."""

    run_seconds: int = Field(4, gt=0)
    """Processor time of all calls together, seconds."""
    memory_mib: int = Field(512, gt=0)
    """Address space, MiB."""
    output_kib: int = Field(1024, gt=0)
    """What results and prints may take, KiB each."""
    relative: float = Field(0.0, ge=0)
    """Allowed error of floating point results, relative to the expected value."""
    absolute: float = Field(0.0, ge=0)


def read_settings(task: Task) -> GeneralSettings:
    """Validate a task's settings.

    Raises:
        DataError: names the task and the key.
    """
    settings = task_settings(GeneralSettings, task)
    if (CASES_FILE in task.hidden) == (CHECK_FILE in task.hidden):
        raise DataError(f"task {task.id}: key 'hidden': either {CASES_FILE!r} or {CHECK_FILE!r} is needed")
    return settings
