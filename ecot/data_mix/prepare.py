"""From trajectories to a plan in one call: tokenizer, stores, budgets, packs. Idempotent; safe to start twice."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from ecot.data_mix.budgets import flatten_counts
from ecot.data_mix.config import DataConfig, SourceConfig
from ecot.data_mix.plan import PLAN_JSON, PackPlan
from ecot.data_mix.plan_builder import FORMAT as PLAN_FORMAT
from ecot.data_mix.plan_builder import build_plan
from ecot.data_mix.source_files import fetch
from ecot.data_mix.sources import default_source, read_sources, source_identity
from ecot.data_mix.stamp import run_stamp
from ecot.data_mix.store import DocumentStore
from ecot.data_mix.store_builder import StoreBuilder
from ecot.data_mix.store_writer import write_text
from ecot.data_mix.tokenizer import corpus_texts, prepare_tokenizer
from ecot.errors import DataError, PlanError
from ecot.progress import Progress, no_progress
from ecot.run_paths import RunPaths

logger = logging.getLogger(__name__)
TRAIN, HELDOUT = "train", "heldout"
FETCHED = "sources"
"""In the store's folder: data sets of the hub."""
SUMMARY = "summary.json"
"""In the store's folder: `PreparedData.summary`."""
STAMP = "prepared.json"
"""In the store's folder: `run_stamp` of the last preparation."""


@dataclass(frozen=True)
class PreparedData:
    """What `prepare` made or found."""

    plan: PackPlan
    train: DocumentStore
    heldout: DocumentStore | None
    """None when the run has no held-out trajectories."""
    summary: dict[str, Any]
    """Figures for tables and reports: tokenizer, accounts of both stores, budgets, packs and steps."""


def prepare(config: DataConfig, paths: RunPaths, seed: int, progress: Progress = no_progress) -> PreparedData:
    """Make the run's tokenizer, document stores and plan, or take those that are there and still fit.

    Args:
        config: the `data` section.
        paths: the run's folder.
        seed: decides the order of documents and packs.
        progress: called with (done, total, note).

    Raises:
        DataError, TemplateError, BudgetError: as the parts say.
    """
    paths.root.mkdir(parents=True, exist_ok=True)
    with FileLock(paths.root / ".prepare.lock"):
        return _prepare(config, paths, seed, progress)


def _prepare(config: DataConfig, paths: RunPaths, seed: int, progress: Progress) -> PreparedData:
    fetched = paths.store / FETCHED
    sources = [fetch(source, fetched) for source in training_sources(config, paths)]
    heldout = config.heldout or default_source(paths, HELDOUT)
    heldout = fetch(heldout, fetched) if heldout else None
    every = [*sources, *([heldout] if heldout else [])]
    stamp = paths.store / STAMP
    if stamp.is_file() and stamp.read_text("utf-8") == run_stamp(config, every, paths, seed):
        try:
            return _open_prepared(paths, heldout is not None)
        except (DataError, PlanError) as error:  # damaged without a change of size or time
            logger.warning("%s", error)
    progress(0, 0, "tokenizer")
    tokenizer = prepare_tokenizer(config, paths.tokenizer, lambda: _texts(sources), corpus_hash(sources))
    paths.store.mkdir(parents=True, exist_ok=True)
    train = StoreBuilder(config, sources, paths.tokenizer, paths.store / TRAIN).build(progress)
    held = StoreBuilder(config, [heldout], paths.tokenizer, paths.store / HELDOUT).build(progress) if heldout else None
    plan = _open_or_build_plan(config, train, seed, paths.plan)
    summary = summarise(plan, train, held, len(tokenizer))
    write_text(paths.store / SUMMARY, json.dumps(summary, indent=1))
    write_text(stamp, run_stamp(config, every, paths, seed))
    return PreparedData(plan, train, held, summary)


def _open_prepared(paths: RunPaths, has_heldout: bool) -> PreparedData:
    summary = json.loads((paths.store / SUMMARY).read_text("utf-8"))
    held = DocumentStore.open(paths.store / HELDOUT) if has_heldout else None
    return PreparedData(PackPlan.open(paths.plan), DocumentStore.open(paths.store / TRAIN), held, summary)


def training_sources(config: DataConfig, paths: RunPaths) -> Sequence[SourceConfig]:
    """The configured training sources, or the run's own.

    Raises:
        DataError: neither exists.
    """
    if config.sources:
        missing = [str(source.path) for source in config.sources if not (source.hub or source.path.exists())]
        if missing:
            raise DataError(f"data.sources: no such file: {', '.join(missing)}")
        return config.sources
    own = default_source(paths, TRAIN)
    if own is None:
        raise DataError(
            f"{paths.trajectories} holds no train.parquet or train.jsonl; make it with `ecot synth CONFIG`, or name "
            "files under data.sources"
        )
    return (own,)


def _texts(sources: Sequence[SourceConfig]) -> Iterator[str]:
    trajectories = (row.trajectory for row in read_sources(sources))
    return corpus_texts(trajectory for trajectory in trajectories if trajectory is not None)


def _open_or_build_plan(config: DataConfig, store: DocumentStore, seed: int, folder: Path) -> PackPlan:
    key = plan_key(config, store.key, seed)
    if (folder / PLAN_JSON).is_file():
        try:
            plan = PackPlan.open(folder)
            if plan.header.get("key") == key:
                return plan
        except PlanError as error:  # as good as absent: planning again gives the same plan
            logger.warning("%s", error)
    return build_plan(config, store, seed, folder, key)


def plan_key(config: DataConfig, store_key: str, seed: int) -> str:
    """What a plan is made from, in one hash."""
    options = config.model_dump(mode="json", include={"budgets", "count", "mixture", "packing"})
    return hashlib.sha256(json.dumps([PLAN_FORMAT, seed, store_key, options]).encode()).hexdigest()


def corpus_hash(sources: Sequence[SourceConfig]) -> str:
    """Identity of the sources' contents."""
    return hashlib.sha256(json.dumps([source_identity(source) for source in sources]).encode()).hexdigest()


def summarise(plan: PackPlan, train: DocumentStore, heldout: DocumentStore | None, vocabulary: int) -> dict[str, Any]:
    """The figures of a prepared run, as plain values."""
    return {
        "vocabulary": vocabulary,
        "train": summarise_store(train),
        "heldout": summarise_store(heldout) if heldout else None,
        "plan": {
            "hash": plan.hash,
            "num_steps": plan.num_steps,
            "packs_per_step": plan.packs_per_step,
            "pack_tokens": plan.pack_tokens,
            "balance": plan.header["balance"],
            "budgets": [_summarise_budget(entry) for entry in plan.header["budgets"]],
        },
    }


def _summarise_budget(entry: dict[str, Any]) -> dict[str, Any]:
    counts = flatten_counts(entry["tokens"])
    shortfall = entry["requested"] - entry["planned"]
    return {**entry, "shortfall": shortfall, **counts, "unique": counts["all"] - entry["repeated"]}


def summarise_store(store: DocumentStore) -> dict[str, Any]:
    """Documents, tokens per kind, repeated tokens, those that `keep` would take, and the account of a store."""
    counts = store.kind_counts.sum(axis=0).tolist()
    kinds = dict(zip(("prompt", "thinking", "answer", "observation"), counts, strict=True))
    return {
        "documents": len(store),
        "tokens": sum(counts),
        "supervised": kinds["thinking"] + kinds["answer"],
        "by_kind": kinds,
        "repeated": int(store.repeated.sum()),
        "kept": store.kept_tokens,
        "straddling": int(store.straddling.sum()),
        "samples": store.manifest["samples"],
        "ledger": store.ledger.to_json(),
    }
