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

from ecot.data_mix.budgets import Budget, make_budgets, repeated_tokens
from ecot.data_mix.config import DataConfig, PackingConfig
from ecot.data_mix.groups import DOMAINS, KINDS
from ecot.data_mix.mixture import Corpus, MixedOrder, document_order
from ecot.data_mix.packing import deal_steps, document_costs, pack_together
from ecot.data_mix.plan import COUNT_COLUMNS, PLAN_JSON, PLAN_PARQUET, PackPlan, PlannedBudget, plan_hash
from ecot.data_mix.store import DocumentStore
from ecot.data_mix.store_writer import write_text

FORMAT = "5"
_SCHEMA = pa.schema(
    [
        ("documents", pa.list_(pa.int32())),
        ("tokens", pa.int32()),
        ("repeated", pa.int32()),
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
    corpus = Corpus.of_store(store)
    mixed = document_order(corpus, seed, config.mixture)
    digests = store.digests()
    budgets = make_budgets(config.budgets, config.count, mixed, corpus, store.kind_counts, store.repeated, digests)
    order = _Order(config.packing, corpus, mixed, store)
    packs: list[np.ndarray] = []
    planned: list[PlannedBudget] = []
    stream, begin = hashlib.sha256(), 0
    for number, budget in enumerate(budgets):
        own = order.dealt(begin, budget.documents, [seed, number])
        packs += own
        begin = budget.documents
        for pack in own:
            if len(pack):
                stream.update(b"".join([digests[index] for index in mixed.documents[pack]]) + b"|")
        planned.append(_place(budget, own, packs, order, stream.hexdigest()))
    table = order.table(packs)
    header = {"key": key, **_header(config, store, planned, table, seed)}
    _write(folder, header, table)
    return PackPlan.open(folder)


class _Order:
    """The documents in mixed order, by their places in it: one that comes again has several places."""

    def __init__(self, packing: PackingConfig, corpus: Corpus, mixed: MixedOrder, store: DocumentStore) -> None:
        self.packing = packing
        self.documents = mixed.documents
        self.lengths = corpus.lengths[mixed.documents]
        self.domains = corpus.domains[mixed.documents]
        self.trajectories = corpus.trajectories[mixed.documents]
        self.kind_counts = store.kind_counts[mixed.documents]
        self.repeated = repeated_tokens(mixed, corpus.lengths, store.repeated)
        self.costs = document_costs(self.lengths, packing.attention_crossover)

    def dealt(self, begin: int, end: int, seed: Sequence[int]) -> list[np.ndarray]:
        """The packs of the places begin .. end - 1, step by step; empty ones fill up the last step."""
        packs = pack_together(self.lengths[begin:end], self.trajectories[begin:end], self.packing.pack_tokens)
        packs = [begin + pack for pack in packs]
        domains = self.counts(packs).sum(axis=2).argmax(axis=1)  # that most tokens of a pack belong to
        packing, costs = self.packing, self.sums(self.costs, packs).tolist()
        steps = deal_steps(costs, packing.packs_per_step, seed, domains.tolist(), packing.max_domain_deviation)
        fillers = packing.packs_per_step - len(steps[-1])
        return [packs[index] for step in steps for index in step] + [np.empty(0, np.int64)] * fillers

    def sums(self, values: np.ndarray, packs: Sequence[np.ndarray]) -> np.ndarray:
        """[packs] float64 sums of the values at the places of each pack."""
        number = np.repeat(np.arange(len(packs)), [len(pack) for pack in packs])
        return np.bincount(number, weights=values[np.concatenate(packs)], minlength=len(packs))

    def counts(self, packs: Sequence[np.ndarray]) -> np.ndarray:
        """[packs, domains, kinds] int64 tokens."""
        places = np.concatenate(packs)
        number = np.repeat(np.arange(len(packs)), [len(pack) for pack in packs])
        counts = np.zeros((len(packs), len(DOMAINS), len(KINDS)), np.int64)
        np.add.at(counts, (number, self.domains[places]), self.kind_counts[places])
        return counts

    def table(self, packs: Sequence[np.ndarray]) -> pa.Table:
        """What `plan.parquet` holds."""
        offsets = np.cumsum([0, *map(len, packs)], dtype=np.int32)
        counts = self.counts(packs).astype(np.int32).reshape(-1)
        rows = np.arange(0, len(counts) + 1, COUNT_COLUMNS, dtype=np.int32)
        columns = [
            pa.ListArray.from_arrays(offsets, self.documents[np.concatenate(packs)].astype(np.int32)),
            pa.array(self.sums(self.lengths, packs).astype(np.int32)),
            pa.array(self.sums(self.repeated, packs).astype(np.int32)),
            pa.array(self.sums(self.costs, packs).astype(np.float32)),
            pa.ListArray.from_arrays(rows, counts),
        ]
        return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _place(
    budget: Budget, own: Sequence[np.ndarray], packs: Sequence[np.ndarray], order: _Order, stream_hash: str
) -> PlannedBudget:
    filled = [pack for pack in own if len(pack)]
    return PlannedBudget(
        **{name: getattr(budget, name) for name in Budget.__dataclass_fields__},
        last_step=len(packs) // order.packing.packs_per_step,
        packs=sum(1 for pack in packs if len(pack)),
        density=float(order.sums(order.lengths, filled).sum()) / (len(filled) * order.packing.pack_tokens),
        stream_hash=stream_hash,
    )


def _header(
    config: DataConfig, store: DocumentStore, planned: Sequence[PlannedBudget], table: pa.Table, seed: int
) -> dict[str, Any]:
    header: dict[str, Any] = {
        "format": FORMAT,
        "seed": seed,
        "pack_tokens": config.packing.pack_tokens,
        "packs_per_step": config.packing.packs_per_step,
        "attention_crossover": config.packing.attention_crossover,
        "num_steps": len(table) // config.packing.packs_per_step,
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
