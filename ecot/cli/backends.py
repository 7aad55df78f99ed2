"""`ecot execute` and `ecot backends`."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecot.cli.options import AsJson, console, print_json
from ecot.cli.progress import progress_bar
from ecot.cli.tasks import BackendName, TasksSource

if TYPE_CHECKING:
    from ecot.backends.conformance import CheckResult

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def execute(
    source: TasksSource,
    task_id: Annotated[str, typer.Argument(metavar="TASK_ID", help="Id of the task.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The candidate's code.")],
    backend: BackendName = "real",
    as_json: AsJson = False,
) -> None:
    """Run one candidate and print the outcome as a compiler would; the exit status is 0 for PASS, else 1."""
    from ecot.backends.registry import make_backend_for
    from ecot.errors import DataError
    from ecot.tasks.registry import load_tasks

    tasks = load_tasks(source)
    if task_id not in tasks:
        raise DataError(f"{source} has no task {task_id!r}; it has: {', '.join(tasks)}")
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    task, code = tasks[task_id], file.read_text("utf-8", errors="replace")
    result = asyncio.run(make_backend_for({task_id: task}, backend).execute(task, code))
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
    domain: Annotated[
        str, typer.Argument(metavar="[DOMAIN]", help="A domain, or a backend by name; every domain without it.")
    ] = "",
    source: Annotated[str, typer.Option("--tasks", help="Tasks to check with; the domain's own without it.")] = "",
    repeats: Annotated[
        int, typer.Option(min=2, help="How often one candidate that passes and one that fails must give the same.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Run the conformance suite: references, wrong candidates, adversaries, cancellation, determinism."""
    from ecot.backends.registry import backends_named

    reports = {
        name: _check_one(name, source or f"builtin:{served}", repeats, as_json)
        for name, served in backends_named(domain)
    }
    if as_json:
        print_json({"backends": {name: [asdict(result) for result in results] for name, results in reports.items()}})
    bad = 0
    for name, results in reports.items():
        refused = [result for result in results if not result.acceptable]
        bad += len(refused)
        if as_json:
            continue
        for result in refused:
            line = f"{result.group}/{result.name}: {result.state}: expected {result.expected}, got {result.got}"
            console.print(line, style="red", markup=False)
        console.print(f"{name}: {len(results)} checks, {len(refused)} not passed")
    if bad:
        sys.exit(1)


def _check_one(name: str, source: str, repeats: int, hidden: bool) -> list[CheckResult]:
    from ecot.backends.conformance import check_backend
    from ecot.backends.registry import make_attack, make_backend
    from ecot.tasks.registry import load_tasks

    # A tool that is missing, nvcc among them, is named here, before anything runs.
    backend, tasks = make_backend(name), load_tasks(source)
    canary = Path(tempfile.mkdtemp(prefix="ecot-canary-")) / "written"
    attack = make_attack(name, canary)
    with progress_bar(f"check {name}", hidden=hidden) as progress:
        run = check_backend(backend, tasks, attack, canary=canary, repeats=repeats, progress=progress)
        results = asyncio.run(run)
    shutil.rmtree(canary.parent)
    return results
