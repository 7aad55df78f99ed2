"""Whether `prepare` would find everything made: asked before GPUs are held, and answered without making anything."""

from __future__ import annotations

from pathlib import Path

from ecot.data_mix.config import DataConfig
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.prepare import HELDOUT, TRAIN, corpus_hash, plan_key, training_sources
from ecot.data_mix.sources import default_source
from ecot.data_mix.store_builder import StoreBuilder
from ecot.data_mix.tokenizer import is_prepared
from ecot.errors import PlanError
from ecot.run_paths import RunPaths


def what_is_not_prepared(config: DataConfig, paths: RunPaths, seed: int) -> str | None:
    """What `ecot plan` has still to make, or None.

    Raises:
        DataError: there are no sources, or the tokenizer cannot be read.
    """
    sources = training_sources(config, paths)
    heldout = config.heldout or default_source(paths, HELDOUT)
    if not is_prepared(config, paths.tokenizer, corpus_hash(sources)):
        return f"the tokenizer in {paths.tokenizer}"
    stores = {TRAIN: sources, **({HELDOUT: [heldout]} if heldout else {})}
    builders = {
        name: StoreBuilder(config, source, paths.tokenizer, paths.store / name) for name, source in stores.items()
    }
    for name, builder in builders.items():
        if not builder.is_built():
            return f"the {name} documents in {paths.store}"
    return _plan_missing(config, paths.plan, builders[TRAIN].key, seed)


def _plan_missing(config: DataConfig, folder: Path, store_key: str, seed: int) -> str | None:
    try:
        plan = PackPlan.open(folder)
    except PlanError as error:
        return f"the plan ({error})"
    if plan.header.get("key") != plan_key(config, store_key, seed):
        return f"the plan in {folder} (it was made for another configuration)"
    return None
