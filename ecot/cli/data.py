"""`ecot plan`, `ecot preview` and `ecot trajectories`."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ecot.cli.options import AsJson, ConfigPath, Overrides, console, print_json
from ecot.cli.progress import progress_bar
from ecot.cli.run_config import load_run_config, require

if TYPE_CHECKING:
    from ecot.data_mix.balance import ClusterBalance

trajectories_app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

TrajectoriesPath = Annotated[Path, typer.Argument(metavar="PATH", help="A .parquet or .jsonl file of trajectories.")]


def plan(
    config_path: ConfigPath,
    overrides: Overrides = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="Balance over so many GPUs, per node with --nodes.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of the cluster.")] = 1,
    sequence_ranks: Annotated[
        int | None, typer.Option(min=1, help="GPUs that share a pack, if not train.sequence_ranks.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tokenise, fill the nested budgets, pack and deal: the result fixes the whole token stream of the run."""
    config = load_run_config(config_path, overrides or [])
    section = require(config.data, "data", config_path)
    from ecot.data_mix.balance import cluster_balance
    from ecot.data_mix.prepare import prepare

    with progress_bar("plan", hidden=as_json) as progress:
        prepared = prepare(section, config.paths, config.seed, progress)
    sharing = sequence_ranks or config.train.sequence_ranks
    cluster = cluster_balance(prepared.plan, nodes * gpus, sharing) if gpus else None
    if as_json:
        print_json({**prepared.summary, "cluster": asdict(cluster) if cluster else None})
        return
    for title in ("train", "heldout"):
        if prepared.summary[title]:
            console.print(_ledger_table(title, prepared.summary[title]["ledger"]))
    plan_summary = prepared.summary["plan"]
    if section.past_thinking == "expand":
        tokens, kept = (prepared.summary["train"][name] for name in ("tokens", "kept"))
        console.print(
            f"past_thinking: expand takes {tokens / kept:.2f} times the tokens of keep: {tokens:,}, not {kept:,}"
        )
    console.print(_budget_table(plan_summary["budgets"]))
    console.print(_token_table(plan_summary["budgets"][-1]))
    console.print(
        f"{plan_summary['num_steps']} steps of {plan_summary['packs_per_step']} packs of "
        f"{plan_summary['pack_tokens']} tokens; plan {plan_summary['hash'][:12]} in {config.paths.plan}"
    )
    if cluster:
        _print_cluster(cluster, plan_summary["num_steps"] * plan_summary["packs_per_step"])


def _print_cluster(cluster: ClusterBalance, packs: int) -> None:
    console.print(
        f"{cluster.gpus} GPUs: {cluster.data_ranks} data ranks of {cluster.sequence_ranks}, {cluster.packs_per_rank} "
        f"packs each per step; dearest / mean cost {cluster.mean:.4f} on average, {cluster.worst:.4f} at worst, "
        f"{cluster.overall:.4f} with the {cluster.fillers:,} of {packs:,} packs that only fill up a budget's last step"
    )


def _token_table(budget: dict[str, Any]) -> Table:
    """Tokens of the largest budget by domain and kind, and where they come from."""
    kinds = list(next(iter(budget["tokens"].values())))
    title = f"tokens of {budget['name']} by domain and kind, shares within {100 * budget['deviation']:.2f} points"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("domain or source")
    for column in (*kinds, "all", "share"):
        table.add_column(column, justify="right")
    for domain, row in budget["tokens"].items():
        tokens = sum(row.values())
        counts = (f"{row[kind]:,}" for kind in kinds)
        table.add_row(domain, *counts, f"{tokens:,}", f"{tokens / budget['all']:.1%}")
    if len(budget["sources"]) > 1:
        for source, tokens in budget["sources"].items():
            table.add_row(f"source {source}", *("" for _ in kinds), f"{tokens:,}", f"{tokens / budget['all']:.1%}")
    counts = (f"{budget['by_kind'][kind]:,}" for kind in kinds)
    table.add_row("all", *counts, f"{budget['all']:,}", "")
    return table


def _ledger_table(title: str, ledger: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{title}: kept, cut and refused", title_justify="left", box=None, pad_edge=False)
    for column in ("fate", "reason", "domain"):
        table.add_column(column)
    for column in ("rows", "documents", "tokens", "supervised"):
        table.add_column(column, justify="right")
    for line in ledger:
        counts = (f"{line[name]:,}" for name in ("rows", "documents", "tokens", "supervised"))
        table.add_row(line["fate"], line["reason"], line["domain"] or "", *counts)
    return table


def _budget_table(budgets: list[dict[str, Any]]) -> Table:
    table = Table(title="nested budgets", title_justify="left", box=None, pad_edge=False)
    table.add_column("name")
    for column in ("tokens", "shortfall", "supervised", "unique", "repeated", "packs", "last step", "density"):
        table.add_column(column, justify="right")
    table.add_column("content")
    for budget in budgets:
        table.add_row(
            budget["name"],
            f"{budget['planned']:,}",
            f"{budget['shortfall']:,}",
            f"{budget['supervised']:,}",
            f"{budget['unique']:,}",
            f"{budget['repeated']:,}",
            f"{budget['packs']:,}",
            str(budget["last_step"]),
            f"{budget['density']:.3f}",
            budget["content_hash"][:12],
        )
    return table


def preview(
    config_path: ConfigPath,
    overrides: Overrides = None,
    rows: Annotated[int, typer.Option(min=1, help="How many documents.")] = 1,
    start: Annotated[int, typer.Option(min=1, help="The first of them, from 1.")] = 1,
    trajectory: Annotated[str | None, typer.Option("--id", help="Those of one trajectory instead.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Underline every other token.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page instead of printing.")] = None,
) -> None:
    """Show tokens with their segments in colour and their weights in shades, exactly as they will be trained on."""
    config = load_run_config(config_path, overrides or [])
    section = require(config.data, "data", config_path)
    from ecot.data_mix.loss_weights import LossWeights
    from ecot.data_mix.prepare import prepare
    from ecot.data_mix.preview import choose, legend, preview_html, preview_text
    from ecot.data_mix.tokenizer import load_tokenizer, tokenizer_path

    with progress_bar("preview", hidden=not console.is_terminal) as progress:
        store = prepare(section, config.paths, config.seed, progress).train
    tokenizer = load_tokenizer(tokenizer_path(section.tokenizer, config.paths))
    documents = choose(store, start - 1, rows, trajectory)
    resolve = LossWeights(config.train.loss.by_kind, config.train.loss.rules)
    weights = [resolve.of_runs(document) for document in documents]
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(preview_html(documents, tokenizer, weights), "utf-8")
        console.print(f"wrote {html}")
        return
    console.print(legend())
    for document, of_runs in zip(documents, weights, strict=True):
        console.print(preview_text(document, tokenizer, of_runs, tokens))


@trajectories_app.command("stats")
def stats(path: TrajectoriesPath, as_json: AsJson = False) -> None:
    """Count rows, verdicts, and labels per attempt."""
    from ecot.trajectory_io import read_trajectories

    verdicts: Counter[str] = Counter()
    labels: dict[int, Counter[str]] = {}
    for trajectory in read_trajectories(path):
        verdicts[str(trajectory.verdict or "-")] += 1
        for number, attempt in enumerate(trajectory.attempts, start=1):
            labels.setdefault(number, Counter())[str(attempt.label)] += 1
    if as_json:
        print_json({"rows": verdicts.total(), "verdicts": verdicts, "labels_by_attempt": labels})
        return
    table = Table(title=f"{path}: {verdicts.total()} trajectories", title_justify="left", box=None, pad_edge=False)
    table.add_column("label")
    for number in sorted(labels):
        table.add_column(f"attempt {number}", justify="right")
    for label in sorted({label for counts in labels.values() for label in counts}):
        table.add_row(label, *(str(labels[number][label]) for number in sorted(labels)))
    console.print(table)


@trajectories_app.command("show")
def show(
    path: TrajectoriesPath,
    row: Annotated[int, typer.Option(min=1, help="Which row, from 1.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Print one trajectory, message by message."""
    from ecot.data_mix.visible_text import visible
    from ecot.errors import DataError
    from ecot.trajectory_io import read_trajectories

    trajectory = next(itertools.islice(read_trajectories(path), row - 1, None), None)
    if trajectory is None:
        raise DataError(f"{path} has no row {row}")
    if as_json:
        print_json(trajectory.to_row())
        return
    console.print(Text(visible(trajectory.id), style="bold"), trajectory.domain, trajectory.verdict)
    for message in trajectory.messages:
        console.print(f"\n[bold]{message.role}[/]")
        if message.reasoning_content is not None:
            console.print(visible(message.reasoning_content), style="italic", markup=False)
        console.print(visible(message.content), markup=False)


@trajectories_app.command("export")
def export(path: TrajectoriesPath, out: Annotated[Path, typer.Argument(help="A .parquet or .jsonl file.")]) -> None:
    """Convert between Parquet and JSONL, validating every row."""
    from ecot.trajectory_io import read_trajectories, write_trajectories

    count = write_trajectories(out, read_trajectories(path))
    console.print(f"{count} rows written to {out}")
