"""`ecot sweep`."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ecot.cli.options import AsJson, ConfigPath, Overrides, console, print_json
from ecot.cli.run_config import load_run_config, require

_SCRIPT = "slurm/sweep.sh"


def sweep(
    config_path: ConfigPath,
    overrides: Overrides = None,
    mode: Annotated[str, typer.Option(help="`milestones` of one run, or `runs`: one of its own per budget.")] = "runs",
    stage: Annotated[
        list[str] | None, typer.Option(help="prepare, train, export, evaluate or report; all by default.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Only this member (a budget's name with --mode runs).")] = None,
    members: Annotated[bool, typer.Option(help="Write and list the members' configurations, and stop.")] = False,
    slurm: Annotated[str | None, typer.Option(help=f"`print` or `submit` the jobs of {_SCRIPT} instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """Study the scale of data: train, export and evaluate at every token budget, from one plan.

    What is done already is not done again, so the same command goes on after an interruption.
    """
    config = load_run_config(config_path, overrides or [])
    require(config.data, "data", config_path)
    require(config.model, "model", config_path)
    if slurm is not None:
        _slurm(slurm, mode, [str(config_path), *(overrides or [])])
        return
    from ecot.eval.sweep import Mode, Stage, Sweep, summarise, write_members

    chosen_mode = _choice(Mode, mode, "--mode")
    stages = [_choice(Stage, name, "--stage") for name in stage or list(Stage)]
    found = write_members(config.model_dump(mode="json"), config.paths, chosen_mode)
    if only is not None:
        found = [member for member in found if member.name == _choice_of(only, [m.name for m in found], "--only")]
    if members:
        for member in found:
            typer.echo(f"{member.name} {member.config}")
        return
    Sweep(config.paths, found, lambda line: console.print(line, style="dim") if not as_json else None).run(stages)
    if Stage.REPORT in stages:
        summary = summarise(config.paths, found, chosen_mode)
        if as_json:
            print_json(summary)
        else:
            _print(summary)


def _choice(kind: Any, value: str, option: str) -> Any:
    return kind(_choice_of(value, [str(each) for each in kind], option))


def _choice_of(value: str, allowed: list[str], option: str) -> str:
    from ecot.errors import ConfigError

    if value not in allowed:
        raise ConfigError(f"{option} {value}: choose one of {', '.join(allowed)}")
    return value


def _slurm(action: str, mode: str, arguments: list[str]) -> None:
    """Print or run the script that submits the study as arrays of jobs."""
    from ecot.errors import ConfigError

    _choice_of(action, ["print", "submit"], "--slurm")
    if not Path(_SCRIPT).is_file():
        raise ConfigError(f"{_SCRIPT} is not here; start from the repository's root")
    environment = {**os.environ, "ECOT_SWEEP_MODE": mode, **({"ECOT_DRY_RUN": "1"} if action == "print" else {})}
    command = [_SCRIPT, "--", *arguments]
    if action == "submit":
        console.print(shlex.join(command), style="dim")
    result = subprocess.run(command, env=environment, check=False)
    if result.returncode:
        raise ConfigError(f"{_SCRIPT} ended with status {result.returncode}; its message is above")


def _print(summary: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("budget", "tokens", "steps", "held-out loss", "pass@k", "tasks", "stream"):
        table.add_column(column, justify="left" if column in ("budget", "stream") else "right")
    for point in summary["points"]:
        loss, passed = point["heldout_loss"], point["pass_at"]
        table.add_row(
            point["budget"],
            f"{point['tokens']:,}",
            str(point["steps"]),
            "-" if loss is None else f"{loss:.4f}",
            "-" if not passed else f"{next(iter(passed.values())):.3f}",
            str(point["tasks"] or "-"),
            point["stream_hash"][:12],
        )
    console.print(table)
