"""`ecot synth`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ecot.cli.open_backend import open_backend
from ecot.cli.options import AsJson, ConfigPath, Overrides, console, print_json
from ecot.cli.progress import progress_bar
from ecot.cli.run_config import load_run_config, require
from ecot.errors import ConfigError
from ecot.synthesis.config import SynthesisConfig

if TYPE_CHECKING:
    from ecot.tasks.bundle import Task


def synth(config_path: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Synthesise trajectories: attempt, execute with the real tool, think, revise.

    Killed, it continues where it was with the same command.
    """
    config = load_run_config(config_path, overrides or [])
    section = require(config.synthesis, "synthesis", config_path)
    if config.paths.pairs.exists():
        raise ConfigError(
            f"{config.paths.trajectories} holds the pairs of a world model, which trajectories would replace; give the "
            "synthesis a run of its own: name=NAME or run_dir=FOLDER"
        )
    from ecot.synthesis.engine import synthesise
    from ecot.tasks.registry import load_tasks

    tasks = load_tasks(section.tasks)
    backend = open_backend(section.backend, _backend_options(section, tasks))
    with progress_bar("synth", hidden=as_json) as progress:
        summary = synthesise(
            section,
            config.paths,
            config.seed,
            tasks,
            backend,
            progress,
        ).to_json()
    if as_json:
        print_json(summary)
        return
    for name, split in summary["splits"].items():
        console.print(_labels_table(name, split))
        if split["unresolved"]:
            console.print(
                f"{name}: {split['unresolved']} lost to a tool or server that broke, others took their places; "
                "the same command tries them again",
                style="yellow",
            )
        if split["shortfall"]:
            console.print(
                f"{name}: {split['shortfall']} fewer than wanted: the tasks gave no more distinct ones within "
                "synthesis.max_draws; add tasks or raise it",
                style="yellow",
            )
    discards = ", ".join(f"{reason} {count}" for reason, count in sorted(summary["discards"].items()))
    console.print(f"discarded on the way: {discards or 'nothing'}")
    console.print(
        f"{summary['executions']:,} executions in {summary['seconds']:.0f} s "
        f"({summary['executions_per_second']:.0f} a second); trajectories in {config.paths.trajectories}"
    )
    if summary["usage"] is not None:
        console.print(_usage_line(summary))


def _backend_options(section: SynthesisConfig, tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Of all real backends only those are needed whose domains the tasks have."""
    if section.backend != "real":
        return section.backend_options
    return {"domains": sorted({task.domain for task in tasks.values()}), **section.backend_options}


def _usage_line(summary: dict[str, Any]) -> str:
    """What the model's server has done."""
    usage = summary["usage"]
    return (
        f"model: {usage['completions']:,} completions of {usage['prompt_tokens']:,} prompt and "
        f"{usage['completion_tokens']:,} completion tokens, {usage['retries']:,} retries, "
        f"{usage['truncated_turns']:,} cut by length, {usage['empty_turns']:,} empty, "
        f"{usage['out_of_context']:,} trajectories out of context; "
        f"{summary['trajectories_per_second']:g} trajectories a second"
    )


def _labels_table(name: str, split: dict[str, Any]) -> Table:
    """Labels by attempt of one split."""
    by_attempt = split["labels_by_attempt"]
    title = f"{name}: {split['trajectories']} trajectories on {len(split['tasks'])} tasks, {split['attempts']} attempts"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("label")
    for number in range(1, len(by_attempt) + 1):
        table.add_column(f"attempt {number}", justify="right")
    for label in sorted({label for labels in by_attempt for label in labels}):
        table.add_row(label, *(str(labels.get(label, 0) or "") for labels in by_attempt))
    return table
