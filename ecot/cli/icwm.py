"""`ecot icwm`: the world model that stands in for the tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ecot.cli import training
from ecot.cli.open_backend import open_backend
from ecot.cli.options import AsJson, ConfigPath, Overrides, console, print_json
from ecot.cli.progress import progress_bar
from ecot.cli.run_config import RunConfig, load_run_config, require
from ecot.errors import ConfigError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.command("pairs")
def pairs(config_path: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Make single turns of trajectories: task, environment and candidate in, what the tool said out."""
    config = load_run_config(config_path, overrides or [])
    section = require(config.world_model, "world_model", config_path)
    from ecot.world_model.pairs import make_pairs
    from ecot.world_model.splits import Part

    summary = make_pairs(section, config.paths, config.seed)
    if as_json:
        print_json(summary.to_json())
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("label")
    for part in Part:
        table.add_column(str(part), justify="right")
    for label in sorted({label for counts in summary.labels.values() for label in counts}):
        table.add_row(str(label), *(str(summary.labels[part].get(label, 0) or "") for part in Part))
    console.print(table)
    for reason, count in sorted(summary.left_out.items()):
        console.print(f"left out: {count:,} {reason}")
    console.print(f"pairs: {config.paths.trajectories}")


@app.command("train")
def train(config_path: ConfigPath, overrides: Overrides = None) -> None:
    """Train on the pairs: `ecot train`, after a look whether the loss is on what the tool said."""
    config = load_run_config(config_path, overrides or [])
    require(config.world_model, "world_model", config_path)
    _check_loss(config)
    training.train(config_path, overrides)


def _check_loss(config: RunConfig) -> None:
    if config.train.loss.observation == 0:
        raise ConfigError(
            "train.loss.observation is 0, so that a world model would learn nothing: its turns are observations; set "
            "train.loss.observation: 1"
        )


@app.command("evaluate")
def evaluate(config_path: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Fit confidences on the calibration tasks, then hold predictions against the tools on the held-out ones."""
    config = load_run_config(config_path, overrides or [])
    section = require(config.world_model, "world_model", config_path)
    data = require(config.data, "data", config_path)
    from ecot.world_model.evaluate import evaluate as evaluate_world_model

    with progress_bar("icwm", hidden=as_json) as progress:
        result = evaluate_world_model(section, data, config.paths, config.seed, progress)
    if as_json:
        print_json({"milestone": result.milestone, **result.figures})
        return
    console.print(_fidelity_table(result.figures))
    trajectories = result.figures["trajectories"]
    if trajectories is not None:
        verdict = trajectories["overall"]["verdict"]
        console.print(f"trajectories: {_rate(verdict)} end with the same verdict, over {verdict['trials']} stored ones")
    for reason, count in result.figures["unpredicted"].items():
        console.print(f"{count} held-out turns have no prediction: {reason}", style="yellow")
    console.print(f"figures: {result.path}")


@app.command("closed-loop")
def closed_loop(
    config_path: ConfigPath,
    overrides: Overrides = None,
    count: Annotated[
        int, typer.Option(min=1, help="Trajectories to draw, each with the tools and with the model.")
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """Let the generator of section `synthesis` work on held-out tasks, with the tools and with the world model alone.

    How often both end with the same verdict is the paper's trajectory agreement.
    """
    config = load_run_config(config_path, overrides or [])
    section = require(config.world_model, "world_model", config_path)
    synthesis = require(config.synthesis, "synthesis", config_path)
    if synthesis.generator.type == "mechanical":
        raise ConfigError(
            "synthesis.generator is mechanical: it writes its attempts beforehand, whatever it is told, so that replay "
            "(ecot icwm evaluate) says the same; set synthesis.generator.type: openai"
        )
    from ecot.synthesis.sources import make_source
    from ecot.world_model.backend import NAME
    from ecot.world_model.closed_loop import closed_loop as drive
    from ecot.world_model.closed_loop import heldout_slots
    from ecot.world_model.evaluate import choose_export
    from ecot.world_model.pairs import load_all_tasks, read_summary
    from ecot.world_model.splits import Part

    tasks = load_all_tasks(section.tasks)
    ids = [id for id, part in read_summary(config.paths).tasks.items() if part is Part.HELDOUT and id in tasks]
    export = choose_export(config.paths, section.milestone)
    options = {
        "model": export,
        "tools": None,
        "device": section.device,
        "batch_size": section.batch_size,
        "endpoint": section.endpoint.model_dump() if section.endpoint is not None else None,
    }
    with progress_bar("icwm", hidden=as_json) as progress:
        result = asyncio.run(
            drive(
                lambda backend: make_source(synthesis, tasks, backend),
                heldout_slots(tasks, ids, config.seed, count),
                open_backend(section.backend, section.backend_options),
                open_backend(NAME, options),
                synthesis.concurrency,
                progress,
            )
        ).to_json()
    path = config.paths.eval / f"icwm-{export.name}-closed-loop.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    if as_json:
        print_json(result)
        return
    _print_agreement(result)
    console.print(f"figures: {path}")


def _print_agreement(result: Mapping[str, Any]) -> None:
    for name, found in [*result["by_domain"].items(), ("all", result["overall"])]:
        console.print(
            f"{name}: {_rate(found['verdict'])} of {found['verdict']['trials']} end with the same verdict, "
            f"{_rate(found['false_pass'])} of those that end with a predicted PASS fail with the tools"
        )
    if result["lost"]:
        console.print(f"{result['lost']} could not be drawn with both", style="yellow")


@app.command("audit")
def audit(
    config_path: ConfigPath,
    trajectories: Annotated[list[Path], typer.Option("--trajectories", "-t", help="Files with predicted attempts.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Execute some of the predicted outcomes for real: each final PASS, the doubtful ones, and some at random.

    What the tools said goes to RUN/audit: corrections to learn from, and the trajectories by what became of them. Cut
    off, it continues with the same command.
    """
    config = load_run_config(config_path, overrides or [])
    section = require(config.world_model, "world_model", config_path)
    from ecot.world_model.audit import audit as audit_predictions
    from ecot.world_model.drift import DriftTest
    from ecot.world_model.environment import Question
    from ecot.world_model.evaluate import choose_export
    from ecot.world_model.model_folder import read_card
    from ecot.world_model.pairs import load_all_tasks

    baselines = read_card(choose_export(config.paths, section.milestone)).accuracy
    if section.audit.baseline is not None:
        baselines = dict.fromkeys(baselines, section.audit.baseline)
    # Whoever is right less often than the test's drop cannot drift by it.
    baselines = {domain: accuracy for domain, accuracy in baselines.items() if accuracy > DriftTest.drop}
    folder = config.paths.root / "audit"
    with progress_bar("audit", hidden=as_json) as progress:
        result = asyncio.run(
            audit_predictions(
                trajectories,
                load_all_tasks(section.tasks),
                open_backend(section.backend, section.backend_options),
                section.audit,
                baselines,
                Question(section.environment_characters, section.show_hidden),
                config.seed,
                folder,
                progress,
            )
        )
    if as_json:
        print_json(result.to_json())
        return
    console.print(f"{result.audited:,} of {result.predicted:,} predicted turns executed, {result.corrected:,} wrong")
    if result.broken:
        console.print(f"{result.broken} more could not be executed: the tool failed; run this again", style="yellow")
    if result.figures:
        overall = result.figures["accuracy"]["overall"]
        console.print(f"accuracy by the random arm: {_rate(overall['random'])}, by all: {_rate(overall['weighted'])}")
    for domain, test in result.figures.get("drift", {}).items():
        console.print(f"{domain}: drift from {test['baseline']:.1%}: {test['state']}, {test['audits']} random audits")
    console.print("trajectories: " + ", ".join(f"{count:,} {name}" for name, count in result.standings.items()))
    console.print(f"corrections and trajectories: {folder}")


def _fidelity_table(figures: Mapping[str, Any]) -> Table:
    table = Table(title=f"{figures['turns']['heldout']} held-out turns", title_justify="left", box=None, pad_edge=False)
    for name in ("domain", "turns", "outcome accuracy", "majority", "macro F1", "false PASS", "ECE", "threshold"):
        table.add_column(name, justify="left" if name == "domain" else "right")
    fidelity, baseline = figures["fidelity"], figures["majority_baseline"]
    rows = [(domain, found, baseline["by_domain"][domain]) for domain, found in fidelity["by_domain"].items()]
    for name, found, plain in [*rows, ("all", fidelity["overall"], baseline["overall"])]:
        threshold = figures["calibration"]["thresholds"].get(name)
        table.add_row(
            name,
            f"{found['turns']:,}",
            _rate(found["accuracy"]),
            f"{plain['accuracy']['value']:.1%}",
            f"{found['macro_f1']:.2f}",
            _rate(found["false_pass"]),
            f"{found['ece']:.3f}",
            "" if name == "all" else "always the tool" if threshold is None else f"{threshold:.2f}",
        )
    return table


def _rate(rate: dict[str, Any]) -> str:
    return f"{rate['value']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"
