"""The figures of a run on the terminal, and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from ecot.eval.report import figures, tables
from ecot.eval.report.headline import headline
from ecot.eval.report.record import RunRecord
from ecot.eval.results import EvalResult, result_row
from ecot.segments import Kind


def evaluation_table(results: Sequence[EvalResult]) -> RichTable:
    """One row per milestone: held-out loss per kind, and how many first attempts pass, with the interval at 95%."""
    rows = []
    for result in results:
        means = result.heldout.means
        losses = [means.get(f"loss/{kind.name.lower()}") for kind in figures.SCORED]
        rate = result.completions.attempts[0].passed_by_now
        rows.append(
            (
                result.milestone,
                f"{result.trained_tokens:,}",
                *(tables.ABSENT if loss is None else f"{loss:.3f}" for loss in losses),
                f"{rate.successes}/{rate.trials}",
                f"{tables.percent(rate.low)} to {tables.percent(rate.high)}",
            )
        )
    kinds = tuple(kind.name.lower() for kind in figures.SCORED)
    caption = "held-out loss (nats per token), first attempts that pass"
    return rich_table(tables.Table(caption, ("milestone", "tokens", *kinds, "pass@1", "95%"), tuple(rows)))


def print_evaluation(results: Sequence[EvalResult], console: Console) -> None:
    """The table, and the label mix of the model's own attempts."""
    console.print(evaluation_table(results))
    for name, labels in figures.completion_mixes(results):
        console.print(f"{name}: {tables.mix_text(labels)}")


def rich_table(table: tables.Table) -> RichTable:
    """The same table for a terminal."""
    shown = RichTable(title=table.caption, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if index in table.left else "right")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def print_summary(record: RunRecord, report: Path, console: Console) -> None:
    """Print the report's figures in a few lines, what is missing, and where everything lies."""
    if record.results:
        print_evaluation(record.results, console)
        console.print()
    for name, value in _facts(record):
        console.print(f"[bold]{name:<16}[/]{value}")
    for entry in record.missing:
        console.print(f"[yellow]{'missing':<16}[/]{entry.what}: {entry.command}", highlight=False)
    console.print()
    for name, path in _places(record, report):
        console.print(f"{name:<16}{path}")


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    facts = [(tile.name, f"{tile.value} ({tile.note})") for tile in headline(record) if tile.name == "trained tokens"]
    if record.synthesis is not None:
        for number, counts in enumerate(figures.labels_by_attempt(record), start=1):
            facts.append((f"attempt {number}", tables.mix_text(counts)))
    if record.data is not None:
        for account in figures.accounts(record.data):
            parts = (("kept", account.kept), ("cut", account.cut), ("left out", account.left_out))
            text = ", ".join(f"{name} {t.rows:,} / {t.tokens:,}" for name, t in (*parts, ("refused", account.refused)))
            facts.append((account.store, f"{account.domain}: {text} (rows / tokens)"))
    if record.train_store is not None:
        for entry in figures.turn_lengths(record.train_store):
            if entry.attempt is None and entry.kind in (Kind.THINKING, Kind.ANSWER):
                middle = " to ".join(f"{entry.quantile(share):,}" for share in (0.25, 0.75))
                facts.append((entry.kind.name.lower(), f"median {entry.quantile(0.5):,} tokens, half from {middle}"))
    return facts


def _places(record: RunRecord, report: Path) -> list[tuple[str, Path]]:
    paths = record.paths
    places = (
        ("trajectories", paths.trajectories),
        ("metrics", paths.metrics),
        ("milestones", paths.milestones),
        ("weights", paths.export),
        ("evaluation", paths.eval),
        ("report", report),
    )
    return [(name, path) for name, path in places if path.exists()]


def summary_row(record: RunRecord) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "run": str(record.paths.root),
        "headline": {tile.name: {"value": tile.value, "note": tile.note} for tile in headline(record)},
        "labels_by_attempt": figures.labels_by_attempt(record),
        "data": record.data,
        "results": [result_row(result) for result in record.results],
        "missing": [vars(entry) for entry in record.missing],
    }
