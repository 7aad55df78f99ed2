"""Arguments that several verbs share, and how results are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML of the run, for example configs/demo.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides, for example train.learning_rate=2e-5."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, for example runs/demo.")]

console = Console(highlight=False)


def print_json(value: Any) -> None:
    """Print a result for programs, on standard output."""
    typer.echo(json.dumps(value, indent=1, default=str))
