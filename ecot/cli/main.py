"""The command line. Each verb imports its room when it is called, so that `--help` and mistakes answer at once."""

from __future__ import annotations

import logging
import sys

import typer
from rich.console import Console

from ecot import __version__
from ecot.cli import backends, data, doctor, evaluation, icwm, preflight, sweep, synthesis, tasks, training
from ecot.errors import EcotError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "Turn real tool feedback into a reasoning model for industrial code.\n\n"
        "Tasks are attempted, executed by real tools and revised ([b]synth[/b]); the trajectories become packs "
        "([b]plan[/b]), train a model with checkpoints at exact token budgets ([b]train[/b]), are exported to Hugging "
        "Face weights ([b]export[/b]) and judged by the same tools ([b]eval[/b], [b]report[/b])."
    ),
)
app.add_typer(tasks.app, name="tasks", help="Task bundles: import, list, verify.")
app.add_typer(backends.app, name="backends", help="Real tools: the conformance suite.")
app.add_typer(data.trajectories_app, name="trajectories", help="Look into trajectory files.")
app.add_typer(icwm.app, name="icwm", help="The world model that stands in for the tools.")
app.command("doctor")(doctor.doctor)
app.command("execute")(backends.execute)
app.command("synth")(synthesis.synth)
app.command("preview")(data.preview)
app.command("plan")(data.plan)
app.command("preflight")(preflight.preflight)
app.command("train")(training.train)
app.command("export")(training.export)
app.command("eval")(evaluation.evaluate)
app.command("sweep")(sweep.sweep)
app.command("report")(evaluation.report)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ecot {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what the rooms do."),
) -> None:
    """Options before the verb."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


def main() -> None:
    """Run the command line; a mistake the user can mend is one message and exit status 2, never a traceback."""
    try:
        app()
    except EcotError as error:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("error:", style="bold red", end=" ")
        console.print(str(error), markup=False)
        sys.exit(2)
