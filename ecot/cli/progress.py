"""A progress bar that the rooms can advance without knowing rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ecot.progress import Progress as ProgressCallback


@contextmanager
def progress_bar(title: str, hidden: bool = False) -> Iterator[ProgressCallback]:
    """A bar on standard error; on a pipe only its last state is printed."""
    columns = (
        TextColumn(f"{title:<9}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bar:
        task = bar.add_task(title, total=None, note="")

        def show(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield show
