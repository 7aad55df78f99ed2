"""The page: figures, charts and examples put into the template."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ecot import __version__
from ecot.data_mix.tokenizer import load_tokenizer
from ecot.eval.report import figures, plots, tables
from ecot.eval.report.examples import choose_completions, choose_examples
from ecot.eval.report.headline import headline
from ecot.eval.report.palette import COLOURS, kind_colour, label_colour
from ecot.eval.report.record import RunRecord
from ecot.segments import Kind


@dataclass(frozen=True)
class Commands:
    """How this run is made again."""

    lines: tuple[str, ...]
    recorded: bool
    """Whether the configuration is that of a recorded evaluation; otherwise it stands as CONFIG."""


def write_report(record: RunRecord) -> Path:
    """Write `report.html` into the run's folder; complete or absent. Returns its path."""
    path = record.paths.report
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(render_page(record), "utf-8")
    os.replace(temporary, path)
    return path


def render_page(record: RunRecord) -> str:
    """The HTML of the report."""
    environment = Environment(
        loader=PackageLoader("ecot.eval.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    return environment.get_template("page.jinja").render(_context(record))


def _context(record: RunRecord) -> dict[str, Any]:
    return {
        "name": record.paths.root.resolve().name,
        "version": __version__,
        "palette": COLOURS,
        "kinds": [(kind.name.lower(), kind_colour(kind)) for kind in Kind if kind is not Kind.PADDING],
        "kind_colour": kind_colour,
        "label_colour": label_colour,
        "missing": record.missing,
        "lacks": record.lacks,
        "tiles": headline(record),
        "curves": _curves(record),
        "labels": _labels(record),
        "accounts": tables.account_table(figures.accounts(record.data)) if record.data else None,
        "lengths": _lengths(record),
        "budgets": tables.budget_table(record.data["plan"], record.milestones) if record.data else None,
        "plan": record.data["plan"] if record.data else None,
        "examples": _examples(record),
        "completions": _completions(record),
        "environment": dict(record.results[-1].environment) if record.results else None,
        "seconds": {result.milestone: result.seconds for result in record.results},
        "settings": _settings(record),
        "commands": _commands(record),
    }


def _curves(record: RunRecord) -> dict[str, Any] | None:
    curves = figures.scaling_curves(record)
    if not curves:
        return None
    return {
        "chart": plots.scaling_chart(curves),
        "table": tables.loss_table(record.results) if record.results else None,
        "attempts": tables.attempt_loss_table(record.results[-1]) if record.results else None,
        "heldout": record.results[-1].heldout if record.results else None,
        "split": _split(record),
    }


def _split(record: RunRecord) -> str:
    """Whether held-out tasks were trained on, where the synthesis says which are which."""
    if record.synthesis is None or not {"train", "heldout"} <= set(record.synthesis.splits):
        return ""
    train, heldout = (set(record.synthesis.splits[name].tasks) for name in ("train", "heldout"))
    tasks = f"{len(heldout)} task{'s' if len(heldout) != 1 else ''}"
    shared = len(train & heldout)
    if shared:
        return f" on {tasks}, {shared} of which the training documents touch too"
    return f" on {tasks} that no training document touches"


def _labels(record: RunRecord) -> dict[str, Any] | None:
    by_attempt = {split: figures.labels_by_attempt(record, split) for split in ("train", "heldout")}
    if not by_attempt["train"]:
        return None
    named = {
        split: [(f"attempt {number}", counts) for number, counts in enumerate(rows, start=1)]
        for split, rows in by_attempt.items()
    }
    assert record.synthesis is not None
    return {
        "chart": plots.label_chart("labels", "attempts of training trajectories", named["train"]),
        "tables": [
            tables.label_table(f"Labels per attempt, {words} trajectories", "attempt", named[split])
            for split, words in (("train", "training"), ("heldout", "held-out"))
            if named[split]
        ],
        "synthesis": record.synthesis,
    }


def _lengths(record: RunRecord) -> dict[str, Any] | None:
    if record.train_store is None or len(record.train_store) == 0:
        return None
    lengths = figures.turn_lengths(record.train_store)
    measured = min(len(record.train_store), figures.MAX_MEASURED)
    return {
        "chart": plots.length_chart(lengths),
        "table": tables.length_table(lengths),
        "measured": measured,
        "documents": len(record.train_store),
    }


def _examples(record: RunRecord) -> list[Any] | None:
    if record.train_store is None or not record.paths.tokenizer.is_dir():
        return None
    return choose_examples(record.train_store, load_tokenizer(record.paths.tokenizer))


def _completions(record: RunRecord) -> dict[str, Any] | None:
    if not record.results:
        return None
    mixes = figures.completion_mixes(record.results)
    return {
        "chart": plots.label_chart("completions", "attempts of the model", mixes),
        "table": tables.completion_table(record.results),
        "labels": tables.label_table("Labels of the model's attempts", "milestone", mixes),
        "examples": choose_completions(record),
        "last": record.results[-1],
        "config": record.results[-1].inputs["eval"],
    }


def _settings(record: RunRecord) -> str | None:
    if not record.results or not record.results[-1].settings:
        return None
    return yaml.safe_dump(record.results[-1].settings, sort_keys=False, allow_unicode=True)


def _commands(record: RunRecord) -> Commands:
    arguments = record.arguments or "CONFIG"
    run = record.paths.root
    verbs = (f"synth {arguments}", f"plan {arguments}", f"train {arguments}", f"export {run}", f"eval {arguments}")
    lines = tuple(f"ecot {verb}" for verb in (*verbs, f"report {run}"))
    return Commands(lines, record.arguments is not None)
