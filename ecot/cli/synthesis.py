"""`ecot synth`."""

from __future__ import annotations

from rich.table import Table

from ecot.cli.options import AsJson, ConfigPath, Overrides, console, print_json
from ecot.cli.progress import progress_bar
from ecot.cli.run_config import load_run_config, require


def synth(config_path: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Synthesise trajectories: attempt, execute with the real tool, think, revise.

    Killed, it continues where it was with the same command.
    """
    config = load_run_config(config_path, overrides or [])
    section = require(config.synthesis, "synthesis", config_path)
    from ecot.backends.registry import make_backend
    from ecot.synthesis.engine import synthesise
    from ecot.tasks.registry import load_tasks

    tasks = load_tasks(section.tasks)
    backend = make_backend(section.backend, **section.backend_options)
    with progress_bar("synth", hidden=as_json) as progress:
        summary = synthesise(section, config.paths, config.seed, tasks, backend, progress)
    if as_json:
        print_json(summary.to_json())
        return
    console.print(_labels_table(summary.to_json()))
    console.print(f"trajectories: {config.paths.trajectories}")


def _labels_table(summary: dict[str, object]) -> Table:
    return Table()
