"""`ecot execute` and `ecot backends`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from ecot.cli.options import AsJson, console, print_json
from ecot.cli.tasks import BackendName, TasksSource

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def execute(
    source: TasksSource,
    task_id: Annotated[str, typer.Argument(metavar="TASK_ID", help="Id of the task.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The candidate's code.")],
    backend: BackendName = "icarus",
    as_json: AsJson = False,
) -> None:
    """Run one candidate and print the outcome as a compiler would; the exit status is 0 for PASS, else 1."""
    from ecot.backends.registry import make_backend
    from ecot.errors import DataError
    from ecot.tasks.registry import load_tasks

    tasks = load_tasks(source)
    if task_id not in tasks:
        raise DataError(f"{source} has no task {task_id!r}; it has: {', '.join(tasks)}")
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    result = asyncio.run(make_backend(backend).execute(tasks[task_id], file.read_text("utf-8", errors="replace")))
    if as_json:
        print_json({field: getattr(result, field) for field in result.__dataclass_fields__})
    else:
        subcode = f" ({result.subcode})" if result.subcode else ""
        console.print(f"{file}: {result.stage}: {result.label}{subcode}  {result.seconds:.3f} s")
        if result.diagnostics:
            console.print(result.diagnostics, markup=False)
    if not result.passed:
        sys.exit(1)
