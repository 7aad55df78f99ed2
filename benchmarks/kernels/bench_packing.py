"""Packing: how fast documents are packed and how full, how even steps are, and how fast a pack's tables are expanded.

    OMP_NUM_THREADS=1 python -m benchmarks.kernels.bench_packing --out benchmarks/results/packing_cpu.json

The length sets are lognormal: short chats, tool-feedback trajectories, and long ones. With a CUDA device the packing
kernels are timed too.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.kernels.measure import environment, summary, time_by_turns, write_json
from ecot.kernels.packing.bins import best_fit_decreasing, volume_bound
from ecot.kernels.packing.deal import FILLER, CostModel, deal_by_cost, step_imbalance
from ecot.kernels.packing.expand import compact_rows, expand_pack
from ecot.kernels.packing.spans import ScoringRule, SpanTable

LENGTH_SETS = {"chat": (800, 4096), "ecot": (7300, 32_768), "long": (17_600, 65_536), "very long": (20_000, 131_072)}
"""Mean and capacity, in tokens; the logarithms have a standard deviation of 1."""
COSTS = {
    "7B": CostModel.of_transformer(7.6e9, num_layers=28, attention_width=3584),
    "32B": CostModel.of_transformer(32e9, num_layers=64, attention_width=5120),
}


def lognormal_lengths(mean: float, capacity: int, count: int) -> NDArray[np.int64]:
    lengths = np.random.default_rng(0).lognormal(np.log(mean) - 0.5, 1.0, count)
    return lengths.clip(16, capacity).astype(np.int64)


def segment_tree_loop(lengths: NDArray[np.int64], capacity: int) -> int:
    """The loop of TRL's packing (`trl.data_utils._pack_bfd`) over its segment tree; the number of bins."""
    from trl.data_utils import _SegmentTree

    tree, with_space, num_bins = _SegmentTree(capacity), defaultdict(deque), 0
    tree.add(capacity)
    for length in np.sort(lengths)[::-1].tolist():
        space = tree.search(length)
        if space < capacity:
            chosen = with_space[space].popleft()
            if not with_space[space]:
                tree.remove(space)
        else:
            chosen, num_bins = num_bins, num_bins + 1
        with_space[space - length].append(chosen)
        if space > length:
            tree.add(space - length)
    return num_bins


def measure_bins(count: int) -> list[dict[str, Any]]:
    """CPU seconds (the best of three) and the gap to the volume bound, per length set."""
    results = []
    for name, (mean, capacity) in LENGTH_SETS.items():
        lengths = lognormal_lengths(mean, capacity, count)
        seconds = {"ecot": float("inf")}
        for _ in range(3):
            start = time.process_time()
            bins = best_fit_decreasing(lengths, capacity)
            seconds["ecot"] = min(seconds["ecot"], time.process_time() - start)
        start = time.process_time()
        trl_bins = segment_tree_loop(lengths, capacity)
        seconds["trl"] = time.process_time() - start
        bound = volume_bound(lengths, capacity)
        results.append(
            {
                "lengths": name,
                "documents": count,
                "capacity": capacity,
                "seconds": seconds,
                "bins": {"ecot": bins.num_bins, "trl": trl_bins, "volume bound": bound},
                "gap": bins.num_bins / bound - 1,
            }
        )
    return results


def measure_steps(count: int, ranks: int) -> list[dict[str, Any]]:
    """Step time over that of even ranks, packs dealt at random and by cost."""
    results = []
    for name, (mean, capacity) in LENGTH_SETS.items():
        lengths = lognormal_lengths(mean, capacity, count)
        bins = best_fit_decreasing(lengths, capacity)
        for model, cost_model in COSTS.items():
            costs = cost_model.of_packs(bins, lengths)
            steps = deal_by_cost(costs, ranks, seed=0)
            steps = steps[(steps != FILLER).all(axis=1)]
            at_random = np.random.default_rng(1).permutation(steps.ravel()).reshape(steps.shape)
            results.append(
                {
                    "lengths": name,
                    "capacity": capacity,
                    "model": model,
                    "ranks": ranks,
                    "steps": len(steps),
                    "at_random": step_imbalance(costs, at_random, ranks),
                    "by_cost": step_imbalance(costs, steps, ranks),
                }
            )
    return results


def measure_expansion(tokens: int, device: str) -> dict[str, Any]:
    """Milliseconds to expand a pack of 1,000-token documents of 20 runs and to compact its rows."""
    documents = tokens // 1000
    runs = torch.tensor([[50, kind % 4, kind // 4] for kind in range(20)]).repeat(documents, 1)
    table = SpanTable.from_runs(runs, torch.full((documents,), 20), torch.zeros(documents, dtype=torch.int64))
    weights = torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None].repeat(1, 8)
    rule = ScoringRule(weights, torch.zeros(4, 8, dtype=torch.bool), num_domains=6)
    numbers = rule.count(table)
    ids = torch.randint(0, 76_800, (int(table.cu_seqlens[-1]),)).to(device)
    table, rule = table.to(device), rule.to(device)

    def run() -> None:
        compact_rows(expand_pack(ids, table, rule), *numbers, rule.num_groups)

    run()
    times = time_by_turns({"expand and compact": run}, device, rounds=20, seconds=10)
    return {"tokens": len(ids), "device": device, **summary(times["expand and compact"])}


def table(results: dict[str, Any]) -> str:
    lines = [
        f"# Packing on {results['environment'].get('cpu') or results['environment'].get('gpu')}",
        "",
        f"commit {results['environment']['commit']}; {results['environment']['date']}; one core, CPU time",
        "",
        "| lengths | documents | capacity | ecot, s | TRL's loop, s | bins | volume bound | gap |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results["bins"]:
        lines.append(
            f"| {row['lengths']} | {row['documents']:,} | {row['capacity']:,} | {row['seconds']['ecot']:.2f} | "
            f"{row['seconds']['trl']:.1f} | {row['bins']['ecot']:,} | "
            f"{row['bins']['volume bound']:,} | {row['gap']:.3%} |"
        )
    lines += [
        "",
        "| lengths | capacity | model | ranks | steps | at random | by cost |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results["steps"]:
        lines.append(
            f"| {row['lengths']} | {row['capacity']:,} | {row['model']} | {row['ranks']} | {row['steps']} | "
            f"{row['at_random']:.3f} | {row['by_cost']:.3f} |"
        )
    lines.append("")
    for row in results["expansion"]:
        lines.append(f"Expanding and compacting {row['tokens']:,} tokens on {row['device']}: {row['median_ms']:.2f} ms")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file; the table gets the suffix .md")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--ranks", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    results = {
        "environment": environment("cpu"),
        "bins": measure_bins(arguments.documents),
        "steps": measure_steps(arguments.documents // 2, arguments.ranks),
        "expansion": [measure_expansion(tokens, device) for device in devices for tokens in (32_000, 128_000)],
    }
    write_json(arguments.out, results)
    arguments.out.with_suffix(".md").write_text(table(results), "utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
