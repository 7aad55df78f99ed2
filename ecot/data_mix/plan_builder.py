"""Makes the pack plan: budgets over a seeded order, packs within each budget's own documents, steps of equal cost."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ecot.data_mix.budgets import Budget, make_budgets
from ecot.data_mix.config import DataConfig
from ecot.data_mix.groups import DOMAINS, KINDS
from ecot.data_mix.mixture import document_order
from ecot.data_mix.packing import best_fit_decreasing, deal_steps, pack_cost
from ecot.data_mix.plan import COUNT_COLUMNS, PLAN_JSON, PLAN_PARQUET, PackPlan, PlannedBudget, plan_hash
from ecot.data_mix.store import DocumentStore
from ecot.data_mix.store_writer import write_text

FORMAT = "2"
_SCHEMA = pa.schema(
    [
        ("documents", pa.list_(pa.int32())),
        ("tokens", pa.int32()),
        ("cost", pa.float32()),
        ("counts", pa.list_(pa.int32())),
    ]
)


def build_plan(config: DataConfig, store: DocumentStore, seed: int, folder: Path, key: str = "") -> PackPlan:
    """Plan the packs of every budget and write `folder`; complete or absent.

    Args:
        config: the `data` section.
        store: the training documents.
        seed: decides the order of documents and steps.
        folder: where `plan.parquet` and `plan.json` go.
        key: what it is made from, to be found again in the header.

    Raises:
        BudgetError: the store holds too few tokens.
    """
    mixed = document_order(store.lengths, store.domains, seed, config.mixture)
    digests = store.digests()
    budgets = make_budgets(
        config.budgets, config.count, mixed, store.kind_counts, store.domains, store.repeated, digests
    )
    steps: list[list[list[int]]] = []
    planned: list[PlannedBudget] = []
    stream, begin = hashlib.sha256(), 0
    for number, budget in enumerate(budgets):
        segment = _segment_steps(config, store, mixed.documents[begin : budget.documents], [seed, number])
        steps += segment
        begin = budget.documents
        for step in segment:
            for pack in step:
                stream.update(b"".join(digests[index] for index in pack) + b"|")
        planned.append(_place(budget, segment, steps, store, config, stream.hexdigest()))
    packs = [pack for step in steps for pack in step]
    table = _table(packs, store, config)
    header = {"key": key, **_header(config, store, planned, steps, table, seed)}
    _write(folder, header, table)
    return PackPlan.open(folder)


def _segment_steps(
    config: DataConfig, store: DocumentStore, documents: np.ndarray, seed: Sequence[int]
) -> list[list[list[int]]]:
    """Steps of packs of store indices for the documents that one budget adds; the last step has fillers."""
    packing = config.packing
    packs = [documents[members] for members in best_fit_decreasing(store.lengths[documents], packing.pack_tokens)]
    costs = [pack_cost(store.lengths[pack], packing.attention_crossover) for pack in packs]
    domains = [_main_domain(store, pack) for pack in packs]
    dealt = deal_steps(costs, packing.packs_per_step, seed, domains)
    steps = [[packs[index].tolist() for index in step] for step in dealt]
    steps[-1] += [[] for _ in range(packing.packs_per_step - len(steps[-1]))]
    return steps


def _main_domain(store: DocumentStore, pack: np.ndarray) -> int:
    """The domain that most tokens of a pack belong to."""
    return int(np.bincount(store.domains[pack], weights=store.lengths[pack]).argmax())


def _place(
    budget: Budget,
    segment: list[list[list[int]]],
    steps: list[list[list[int]]],
    store: DocumentStore,
    config: DataConfig,
    stream_hash: str,
) -> PlannedBudget:
    own = [pack for step in segment for pack in step if pack]
    tokens = sum(int(store.lengths[pack].sum()) for pack in own)
    return PlannedBudget(
        **{name: getattr(budget, name) for name in Budget.__dataclass_fields__},
        last_step=len(steps),
        packs=sum(1 for step in steps for pack in step if pack),
        density=tokens / (len(own) * config.packing.pack_tokens),
        stream_hash=stream_hash,
    )


def _table(packs: Sequence[list[int]], store: DocumentStore, config: DataConfig) -> pa.Table:
    crossover = config.packing.attention_crossover
    counts = np.zeros((len(packs), len(DOMAINS), len(KINDS)), np.int32)
    for row, pack in enumerate(packs):
        np.add.at(counts[row], store.domains[pack], store.kind_counts[pack])
    columns = [
        pa.array(packs, _SCHEMA.field("documents").type),
        pa.array([int(store.lengths[pack].sum()) for pack in packs], pa.int32()),
        pa.array([pack_cost(store.lengths[pack], crossover) for pack in packs], pa.float32()),
        pa.array(list(counts.reshape(len(packs), COUNT_COLUMNS)), _SCHEMA.field("counts").type),
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _header(
    config: DataConfig,
    store: DocumentStore,
    planned: Sequence[PlannedBudget],
    steps: Sequence[Any],
    table: pa.Table,
    seed: int,
) -> dict[str, Any]:
    header: dict[str, Any] = {
        "format": FORMAT,
        "seed": seed,
        "pack_tokens": config.packing.pack_tokens,
        "packs_per_step": config.packing.packs_per_step,
        "attention_crossover": config.packing.attention_crossover,
        "num_steps": len(steps),
        "pad_id": store.manifest["pad_id"],
        "store_key": store.key,
        "budgets": [asdict(budget) for budget in planned],
        "balance": {
            **balance(table.column("cost").to_numpy(), config.packing.packs_per_step),
            **domain_deviation(np.stack(table.column("counts").to_numpy()), config.packing.packs_per_step),
        },
    }
    documents = table.column("documents").combine_chunks()
    header["hash"] = plan_hash(header, documents.values.to_numpy(), documents.offsets.to_numpy())
    return header


def balance(costs: np.ndarray, packs_per_step: int) -> dict[str, float]:
    """How even the packs of full steps are: cost of the dearest / mean, on average and at worst."""
    by_step = costs.astype(np.float64).reshape(-1, packs_per_step)
    full = by_step[(by_step > 0).all(axis=1)]
    if len(full) == 0:
        return {"mean": 1.0, "worst": 1.0}
    ratio = full.max(axis=1) / full.mean(axis=1)
    return {"mean": float(ratio.mean()), "worst": float(ratio.max())}


def domain_deviation(counts: np.ndarray, packs_per_step: int) -> dict[str, float]:
    """How far the domain shares of full steps are from the plan's: the largest difference, on average and at worst.

    Args:
        counts: [packs, domains * kinds] tokens.
        packs_per_step: P.
    """
    tokens = counts.reshape(-1, packs_per_step, len(DOMAINS), len(KINDS)).sum(axis=3, dtype=np.float64)
    full = tokens[(tokens.sum(axis=2) > 0).all(axis=1)].sum(axis=1)
    if len(full) == 0:
        return {"domain_mean": 0.0, "domain_worst": 0.0}
    whole = tokens.sum(axis=(0, 1)) / tokens.sum()
    largest = np.abs(full / full.sum(axis=1, keepdims=True) - whole).max(axis=1)
    return {"domain_mean": float(largest.mean()), "domain_worst": float(largest.max())}


def _write(folder: Path, header: dict[str, Any], table: pa.Table) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    pq.write_table(table, temporary / PLAN_PARQUET)
    with (temporary / PLAN_PARQUET).open("rb") as handle:
        os.fsync(handle.fileno())
    write_text(temporary / PLAN_JSON, json.dumps(header, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
