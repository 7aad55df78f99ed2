"""`ecot tasks`: what there is to attempt, and whether every task is sound."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ecot.cli.options import AsJson, console, print_json
from ecot.cli.progress import progress_bar

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

TasksSource = Annotated[
    str, typer.Argument(metavar="TASKS", help="Folder of task bundles, or `builtin:chip_design` for those shipped.")
]
BackendName = Annotated[
    str, typer.Option(help="Backend by name; `real` takes for each task the one of its domain.", show_default=True)
]


@app.command("list")
def list_tasks(source: TasksSource = "builtin:chip_design", as_json: AsJson = False) -> None:
    """List the tasks of a source."""
    from ecot.tasks.registry import load_tasks

    tasks = load_tasks(source)
    if as_json:
        rows = [
            {"id": t.id, "domain": t.domain, "title": t.title, "difficulty": t.difficulty, "hash": t.hash}
            for t in tasks.values()
        ]
        print_json({"tasks": rows})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "domain", "difficulty", "title"):
        table.add_column(column)
    for task in tasks.values():
        table.add_row(task.id, task.domain, task.difficulty, task.title)
    console.print(table)


@app.command()
def verify(source: TasksSource, backend: BackendName = "real", as_json: AsJson = False) -> None:
    """Run every reference and its wrong candidates for real; fails when one is not labelled as written down."""
    from ecot.backends.registry import make_backend_for
    from ecot.backends.verify import verify_tasks
    from ecot.tasks.registry import load_tasks

    tasks = load_tasks(source)
    with progress_bar("verify", hidden=as_json) as progress:
        rows = asyncio.run(verify_tasks(tasks, make_backend_for(tasks, backend), progress))
    surprises = [row for row in rows if not row.as_expected]
    if as_json:
        print_json({"tasks": [row.to_json() for row in rows]})
    else:
        for row in surprises:
            console.print(row.describe(), style="red", markup=False)
        candidates = sum(len(row.wrong) for row in rows)
        console.print(
            f"{len(rows)} references and {candidates} wrong candidates executed; "
            f"{len(surprises)} tasks are not as written down"
        )
    if surprises:
        sys.exit(1)


@app.command("import")
def import_(
    layout: Annotated[str, typer.Argument(metavar="FORMAT", help="verilog_eval or rtllm.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder in the benchmark's own layout.")],
    out: Annotated[Path, typer.Option(help="Folder to write the bundles to.")],
    as_json: AsJson = False,
) -> None:
    """Turn a public benchmark into task bundles; `ecot tasks verify` then runs their references."""
    from ecot.tasks.importers import import_tasks

    ids = import_tasks(layout, folder, out)
    if as_json:
        print_json({"tasks": ids, "out": str(out)})
    else:
        console.print(f"{len(ids)} tasks written to {out}; check them with: ecot tasks verify {out}")
