"""`ecot train` and `ecot export`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecot.cli.imports import imported_to_stay
from ecot.cli.options import AsJson, ConfigPath, Overrides, RunDir, console, print_json
from ecot.cli.run_config import RunConfig, load_run_config, require

if TYPE_CHECKING:
    from ecot.data_mix.loss_rules import LossRule
    from ecot.data_mix.plan import PackPlan
    from ecot.data_mix.store import DocumentStore
    from ecot.train.config import ModelConfig


def train(
    config_path: ConfigPath,
    overrides: Overrides = None,
    copy_only: Annotated[
        bool, typer.Option(help="Only copy weights, store and plan to train.local_copy; once per node, before ranks.")
    ] = False,
) -> None:
    """Fine-tune over the plan, saving a milestone at the end of each token budget.

    Under srun or torchrun each process is one rank. Otherwise the ranks of this machine are started here. The same
    command resumes from the last good checkpoint.
    """
    config = load_run_config(config_path, overrides or [])
    data = require(config.data, "data", config_path)
    model = require(config.model, "model", config_path)
    if copy_only:
        _copy(config, model)
        return
    from ecot.train.rank_environment import rank_environment

    rank = rank_environment(os.environ)
    if rank is None:
        _launch(config, config_path, overrides or [])
        return
    if rank.rank != 0 or not config.train.tracking.wandb:
        # Nobody here logs to it, but TRL imports it where there is one, which takes 1 s.
        sys.modules["wandb"] = None  # type: ignore[assignment]
    with imported_to_stay():
        from ecot.data_mix.tokenizer import tokenizer_path
        from ecot.train.distributed import end_process
        from ecot.train.run import train_rank

    tokenizer = tokenizer_path(data.tokenizer, config.paths)
    train_rank(model, config.train, config.paths, tokenizer, config.seed, rank, config.model_dump(mode="json"))
    end_process()


def _copy(config: RunConfig, model: ModelConfig) -> None:
    from ecot.errors import ConfigError
    from ecot.train.local_copy import copy_to

    if config.train.local_copy is None:
        raise ConfigError("--copy-only needs to know where to: set train.local_copy=FOLDER")
    for folder in copy_to(config.train.local_copy, config.paths, model):
        console.print(f"copied {folder}")


def _launch(config: RunConfig, config_path: Path, overrides: list[str]) -> None:
    """Store and plan first, outside any process group's clock; then one process per rank."""
    from ecot.data_mix.prepare import prepare
    from ecot.train.launch import launch_local_ranks
    from ecot.train.layout import find_layout
    from ecot.train.preconditions import check_run, count_local_ranks

    data = require(config.data, "data", config_path)
    ranks = count_local_ranks(config.train.local_ranks)
    find_layout(ranks, config.train.sequence_ranks, data.packing.packs_per_step, data.packing.pack_tokens)
    prepared = prepare(data, config.paths, config.seed)
    check_run(require(config.model, "model", config_path), config.train, prepared.plan, prepared.train, ranks)
    _tell_rules(config.train.loss.rules, prepared.plan, prepared.train)
    status = launch_local_ranks(ranks, ["train", str(config_path), *overrides])
    if status:
        sys.exit(status)
    console.print(f"milestones: {config.paths.milestones}\nmetrics:    {config.paths.metrics}")


def _tell_rules(rules: Sequence[LossRule], plan: PackPlan, store: DocumentStore) -> None:
    """Say how many tokens of the plan each loss rule touches."""
    from ecot.data_mix.loss_weights import count_touched

    if rules:
        documents = {index for step in range(plan.num_steps) for pack in plan.packs(step) for index in pack.documents}
        for rule, touched in zip(rules, count_touched(rules, store, sorted(documents)), strict=True):
            console.print(f"loss rule {rule.name or '(unnamed)'}, factor {rule.factor:g}: {touched:,} tokens")


def export(
    run: RunDir,
    out: Annotated[
        Path | None, typer.Argument(metavar="[OUT]", help="Folder to write; RUN/export/<milestone> by default.")
    ] = None,
    milestone: Annotated[str, typer.Option(help="Name of a milestone, or `all`.")] = "all",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16; `auto` keeps the training type.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Write Hugging Face weights with the tokenizer and chat template, and check their logits in a fresh process."""
    from ecot.errors import ConfigError
    from ecot.run_paths import RunPaths
    from ecot.train.export import export_milestone
    from ecot.train.milestones import read_milestones

    paths = RunPaths(run)
    names = [record["name"] for record in read_milestones(paths)] if milestone == "all" else [milestone]
    if not names:
        raise ConfigError(f"{run} has no milestone yet; train first: ecot train CONFIG")
    if out is not None and len(names) > 1:
        raise ConfigError("OUT takes one milestone; name it with --milestone, or leave OUT away to export all")
    results = []
    for name in names:
        result = export_milestone(paths, name, out or paths.export / name, dtype, python=sys.executable)
        results.append(result)
        if not as_json:
            console.print(
                f"{name}: {result['path']}  {result['parameters']:,} parameters, {result['dtype']}, largest logit "
                f"difference after reload {result['max_logit_difference']:.3g}"
            )
    if as_json:
        print_json({"exports": results})
