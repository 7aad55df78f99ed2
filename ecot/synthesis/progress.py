"""How far a long job is; whoever shows it decides how."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called whenever something is finished, from the thread that runs the job."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` items of `stage` are finished."""
        ...


def no_progress(stage: str, done: int, total: int) -> None:
    """Show nothing."""
