"""`ecot eval` and `ecot report`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ecot.cli.options import AsJson, ConfigPath, Overrides, RunDir, console, print_json
from ecot.cli.progress import progress_bar
from ecot.cli.run_config import RunConfig, load_run_config, require
from ecot.eval.config import EvalConfig


def evaluate(config_path: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Judge every export: loss on held-out documents, and its own completions on real tools.

    What is done already is not done again, unless the export, the data, the tasks, the tool or the settings changed.
    """
    config = load_run_config(config_path, overrides or [])
    data = require(config.data, "data", config_path)
    section = config.eval or EvalConfig()
    tasks_source, backend_name, backend_options = _environment(section, config, config_path)
    from ecot.backends.registry import make_backend
    from ecot.eval.evaluate import Evaluation
    from ecot.eval.report.terminal import print_evaluation
    from ecot.eval.results import result_row
    from ecot.tasks.registry import load_tasks

    evaluation = Evaluation(
        section,
        data,
        config.train.loss,
        config.paths,
        load_tasks(tasks_source),
        make_backend(backend_name, **backend_options),
        settings=config.model_dump(mode="json"),
        command=shlex.join(["ecot", "eval", str(config_path), *(overrides or [])]),
    )
    with progress_bar("eval", hidden=as_json) as progress:
        results = evaluation.run(progress)
    if as_json:
        print_json({"results": [result_row(result) for result in results]})
        return
    print_evaluation(results, console)
    console.print(f"results: {config.paths.eval}")


def _environment(section: EvalConfig, config: RunConfig, config_path: Path) -> tuple[str, str, dict[str, Any]]:
    """Tasks and backend of the evaluation: its own, or those of the synthesis.

    Raises:
        ConfigError: neither section names them.
    """
    if section.tasks is not None and section.backend is not None:
        return section.tasks, section.backend, section.backend_options
    synthesis = require(config.synthesis, "synthesis (or eval.tasks and eval.backend)", config_path)
    tasks = section.tasks or synthesis.tasks
    if section.backend is not None:
        return tasks, section.backend, section.backend_options
    return tasks, synthesis.backend, synthesis.backend_options


def report(run: RunDir, as_json: AsJson = False) -> None:
    """Write one self-contained HTML page about a run, and print its figures."""
    from ecot.errors import ConfigError
    from ecot.eval.report.page import write_report
    from ecot.eval.report.record import read_record
    from ecot.eval.report.terminal import print_summary, summary_row
    from ecot.run_paths import RunPaths

    if not run.is_dir():
        raise ConfigError(f"{run} is no folder; give the folder of a run, for example runs/demo")
    record = read_record(RunPaths(run))
    path = write_report(record)
    if as_json:
        print_json({**summary_row(record), "report": str(path)})
        return
    print_summary(record, path, console)
