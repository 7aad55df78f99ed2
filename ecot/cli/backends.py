"""`ecot execute` and `ecot backends`."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ecot.cli.options import AsJson, console, print_json
from ecot.cli.progress import progress_bar
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


@app.command("check")
def check(
    backend: Annotated[str, typer.Argument(metavar="[BACKEND]", help="Backend by name.")] = "icarus",
    source: Annotated[str, typer.Option("--tasks", help="Tasks to check with.")] = "builtin:chip_design",
    as_json: AsJson = False,
) -> None:
    """Run the conformance suite: references, wrong candidates, adversaries, cancellation, determinism."""
    from ecot.backends.conformance import CheckState, check_backend
    from ecot.backends.registry import make_attack, make_backend
    from ecot.tasks.registry import load_tasks

    canary = Path(tempfile.mkdtemp(prefix="ecot-canary-")) / "written"
    with progress_bar("check", hidden=as_json) as progress:
        results = asyncio.run(
            check_backend(
                make_backend(backend),
                load_tasks(source),
                make_attack(backend, canary),
                canary=canary,
                progress=progress,
            )
        )
    shutil.rmtree(canary.parent)
    bad = [result for result in results if result.state not in (CheckState.PASSED, CheckState.KNOWN_FAILURE)]
    if as_json:
        print_json({"backend": backend, "checks": [asdict(result) for result in results]})
    else:
        for result in bad:
            line = f"{result.group}/{result.name}: {result.state}: expected {result.expected}, got {result.got}"
            console.print(line, style="red", markup=False)
        console.print(f"{backend}: {len(results)} checks, {len(bad)} not passed")
    if bad:
        sys.exit(1)
