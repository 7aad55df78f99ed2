"""Limits and tolerances that a CAD task may set for itself."""

from __future__ import annotations

from pydantic import Field

from ecot.backends.task_settings import task_settings
from ecot.config import Config
from ecot.tasks.bundle import Task


class CadSettings(Config):
    """The `settings` of a task; the defaults suit parts of some hundred faces."""

    run_seconds: int = Field(10, gt=0)
    """Processor time of the script, seconds."""
    compare_seconds: int = Field(20, gt=0)
    """Processor time of the comparison by Boolean operations, seconds; after that points on a grid are compared."""
    memory_mib: int = Field(1024, gt=0)
    """Address space of script and comparison, MiB, on top of what CadQuery itself maps."""
    iou: float = Field(0.9999, gt=0, le=1)
    """Intersection over union with the reference solid that passes."""
    solids: int = Field(0, ge=0)
    """How many solids are wanted; 0: as many as the reference has."""
    smallest_edge_mm: float = Field(1e-4, ge=0)
    """A solid with a shorter edge counts as degenerate."""


def read_settings(task: Task) -> CadSettings:
    """Validate a task's settings.

    Raises:
        DataError: names the task and the key.
    """
    return task_settings(CadSettings, task)
