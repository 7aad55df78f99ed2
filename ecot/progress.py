"""How far a long job is. The rooms report; whoever calls them decides how it is shown."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called whenever something is finished, from the thread that runs the job."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` items are finished; `total` 0 means that it is not known yet."""
        ...


def no_progress(done: int, total: int, note: str = "") -> None:
    """Show nothing."""
