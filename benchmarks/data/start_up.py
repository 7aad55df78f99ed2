"""How long training waits for its data: opening a finished store and plan, and seeking to a step.

    python -m benchmarks.data.start_up --documents 1000000 --out benchmarks/results/start_up.json

The stores are made of random tokens in the store's own files: one of a million short documents, since opening depends
on their number, and one of 50,000 documents of 4,000 tokens, since seeking depends on what a step holds. Opening is
timed in processes that were just started, after their imports. `seek` is to find the packs of a random step and to read
all their documents; `collate` makes the batches of one of eight ranks of them, on the host or for a device.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.kernels.measure import environment, summary, write_json
from ecot.data_mix.batch import Collator
from ecot.data_mix.config import DataConfig
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.plan_builder import build_plan
from ecot.data_mix.spans import SpanCollator
from ecot.data_mix.store import DOCUMENTS, IDS, MANIFEST, RUNS, SCHEMA, DocumentStore
from ecot.data_mix.store_writer import write_table
from ecot.segments import Kind

SHARD = 1024
RANKS = 8
PACKS = 64
WEIGHTS = {Kind.THINKING: 1.0, Kind.ANSWER: 1.0}


def write_store(folder: Path, documents: int, mean: int) -> None:
    """A store as `StoreBuilder` leaves it, of random tokens: runs of all kinds, four to twelve a document."""
    generator = np.random.default_rng(0)
    names = []
    for first in range(0, documents, SHARD):
        number = min(SHARD, documents - first)
        names.append(f"shard-{len(names):05d}")
        shard = folder / names[-1]
        shard.mkdir(parents=True)
        turns = generator.integers(1, 4, size=number)
        runs_of = 1 + 3 * turns
        kinds = np.concatenate([np.tile([0, 1, 2, 3], 3)[:runs] for runs in runs_of])
        lengths = generator.integers(1, max(2, int(2 * mean / runs_of.mean())), size=len(kinds))
        attempts = np.concatenate([np.append(0, np.repeat(np.arange(1, t + 1), 3)) for t in turns])
        document = np.repeat(np.arange(number), runs_of)
        tokens = np.bincount(document, weights=lengths).astype(np.int32)
        np.save(shard / IDS, generator.integers(0, 76_800, size=int(tokens.sum()), dtype=np.int32))
        np.save(shard / RUNS, np.stack([lengths, kinds, attempts], axis=1).astype(np.int32))
        by_kind = [np.bincount(document, weights=lengths * (kinds == kind), minlength=number) for kind in range(4)]
        zeros = np.zeros(number, np.int32)
        places = [f"rows.jsonl:{first + row + 1}" for row in range(number)]
        columns = {
            "trajectory_id": [f"t{first + row}" for row in range(number)],
            "task_id": ["task"] * number,
            "domain": generator.integers(0, 6, size=number).astype(np.int8),
            "verdict": ["PASS"] * number,
            "attempt_labels": [["PASS"] * int(t) for t in turns],
            "place": places,
            "cut": [False] * number,
            "tokens": tokens,
            "runs": runs_of.astype(np.int32),
            "repeated": zeros,
            "added": tokens,
            "straddling": zeros,
            **dict(zip(("prompt", "thinking", "answer", "observation"), by_kind, strict=True)),
            "digest": [row.tobytes() for row in generator.integers(0, 256, size=(number, 16), dtype=np.uint8)],
        }
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in SCHEMA]
        write_table(shard / DOCUMENTS, pa.Table.from_arrays(arrays, schema=SCHEMA))
    np.save(folder / "kept.npy", np.arange(documents))
    manifest = {"key": "k", "shards": names, "shard_sources": [0] * len(names), "source_names": ["all"]}
    manifest |= {"kept": "kept.npy", "pad_id": 0, "ledger": [], "samples": {}}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def write_plan(store: DocumentStore, folder: Path, pack_tokens: int) -> float:
    """Plan all documents; the CPU seconds that it takes."""
    total = int(store.lengths.sum())
    config = DataConfig.model_validate(
        {
            "tokenizer": {"path": "unused"},
            "budgets": [{"name": str(n), "tokens": total * n // 3} for n in (1, 2, 3)],
            "packing": {"pack_tokens": pack_tokens, "global_batch_tokens": PACKS * pack_tokens},
        }
    )
    began = time.process_time()
    build_plan(config, store, 1, folder)
    return time.process_time() - began


def measure_start(folder: Path) -> dict[str, float]:
    """In this fresh process: seconds until the first micro-batch is there."""
    began = time.perf_counter()
    plan, store = PackPlan.open(folder / "plan"), DocumentStore.open(folder / "store")
    opened = time.perf_counter()
    Collator(store, WEIGHTS, monitor={Kind.OBSERVATION}, pad_id=0)(plan.packs(plan.num_steps // 2)[0])
    return {"open": opened - began, "first_batch": time.perf_counter() - opened}


def measure_seek(folder: Path, seeks: int) -> dict[str, dict[str, float]]:
    """Milliseconds to find and read a random step, and to collate one rank's share of it."""
    plan, store = PackPlan.open(folder / "plan"), DocumentStore.open(folder / "store")
    host = Collator(store, WEIGHTS, monitor={Kind.OBSERVATION}, pad_id=0)
    device = SpanCollator(host)
    times: dict[str, list[float]] = {"seek": [], "collate on the host": [], "collate for a device": []}
    for step in np.random.default_rng(1).integers(0, plan.num_steps, size=seeks).tolist():
        began = time.perf_counter()
        packs = plan.packs(step)
        documents = [store[index] for pack in packs for index in pack.documents]
        read = sum(int(document.ids.sum() > 0) + len(document.run_table.lengths) for document in documents)
        times["seek"].append(1000 * (time.perf_counter() - began))
        assert read
        for name, collate in (("collate on the host", host), ("collate for a device", device)):
            began = time.perf_counter()
            for pack in packs[::RANKS]:
                collate(pack)
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: summary(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000, help="of the store to open")
    parser.add_argument("--seek-documents", type=int, default=50_000, help="of the store to seek in")
    parser.add_argument("--seeks", type=int, default=50)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_start(options.one)))
        return
    results: dict[str, Any] = {"environment": environment("cpu")}
    with tempfile.TemporaryDirectory() as name:
        results["open"] = make(Path(name), options.documents, 200, 2048)
        command = [sys.executable, "-m", "benchmarks.data.start_up", "--one", name]
        results["open"]["seconds"] = [json.loads(subprocess.check_output(command)) for _ in range(5)]
    with tempfile.TemporaryDirectory() as name:
        results["seek"] = make(Path(name), options.seek_documents, 4000, 32_768)
        results["seek"]["milliseconds"] = measure_seek(Path(name), options.seeks)
    print(json.dumps({key: value for key, value in results.items() if key != "environment"}, indent=1))
    if options.out:
        write_json(options.out, results)


def make(folder: Path, documents: int, mean: int, pack_tokens: int) -> dict[str, Any]:
    """Write a store and its plan."""
    write_store(folder / "store", documents, mean)
    seconds = write_plan(DocumentStore.open(folder / "store"), folder / "plan", pack_tokens)
    plan = PackPlan.open(folder / "plan")
    return {
        "documents": documents,
        "tokens": plan.tokens_until(plan.num_steps),
        "steps": plan.num_steps,
        "packs_per_step": PACKS,
        "pack_tokens": pack_tokens,
        "plan_cpu_seconds": seconds,
    }


if __name__ == "__main__":
    main()
