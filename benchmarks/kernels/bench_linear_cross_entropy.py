"""The loss at the head: correctness, time and peak memory of every implementation installed, on a GPU or one CPU core.

    python -m benchmarks.kernels.bench_linear_cross_entropy --device cuda --out benchmarks/results/head_gpu.json
    OMP_NUM_THREADS=1 python -m benchmarks.kernels.bench_linear_cross_entropy --device cpu \
        --out benchmarks/results/head_cpu.json

Writes JSON and, beside it, a Markdown table. An implementation whose results are wrong is reported and not timed.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernels.inputs import Case, make_case
from benchmarks.kernels.measure import (
    cuda_peak_bytes,
    environment,
    process_peak_bytes,
    relative_errors,
    summary,
    time_by_turns,
    write_json,
)
from benchmarks.kernels.providers import PROVIDERS, Provider, bare_products, compacted_logits
from benchmarks.kernels.report import head_table
from benchmarks.kernels.shapes import CPU_HEADS, CPU_TOKENS, GPU_HEADS, GPU_TOKENS, HEADS, SHARES

WRONG = 0.05
"""Relative error from which a result is wrong rather than rounded: bf16 gives some 1e-2 in dX."""


def main() -> None:
    arguments = parse_arguments()
    device = arguments.device
    if device == "cpu":
        torch.set_num_threads(1)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    grid = [
        (head, tokens, share) for head in arguments.heads for tokens in arguments.tokens for share in arguments.shares
    ]
    deadline = time.perf_counter() + 60 * arguments.minutes
    cases = []
    for index, (head, tokens, share) in enumerate(grid):
        seconds = (deadline - time.perf_counter()) / (len(grid) - index)
        print(f"{head}, {tokens} tokens, {share:.0%} supervised", file=sys.stderr)
        measured = measure_case(head, tokens, share, dtype, device, arguments.rounds, seconds)
        cases.append({"head": head, "tokens": tokens, "share": share, **HEADS[head]._asdict(), **measured})
        gc.collect()
    results = {"device": device, "dtype": str(dtype), "environment": environment(device), "cases": cases}
    write_json(arguments.out, results)
    arguments.out.with_suffix(".md").write_text(head_table(results), "utf-8")
    print(head_table(results))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; the table gets the suffix .md")
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), help="default: all of the device")
    parser.add_argument("--tokens", nargs="+", type=int, help="multiples of 64; default: all of the device")
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES), help="supervised shares of the tokens")
    parser.add_argument("--rounds", type=int, default=20, help="most launches per implementation and case")
    parser.add_argument("--minutes", type=float, default=9, help="time for all cases; rounds are cut to it")
    arguments = parser.parse_args()
    on_gpu = arguments.device == "cuda"
    arguments.heads = arguments.heads or (GPU_HEADS if on_gpu else CPU_HEADS)
    arguments.tokens = arguments.tokens or (GPU_TOKENS if on_gpu else CPU_TOKENS)
    return arguments


def measure_case(
    head: str, tokens: int, share: float, dtype: torch.dtype, device: str, rounds: int, seconds: float
) -> dict[str, Any]:
    """Errors, times and memory of each provider on one case, and the time of the bare matrix products."""
    case = make_case(HEADS[head], tokens, share, dtype, device)
    reference = exact_results(case)
    outcomes: dict[str, dict[str, Any]] = {}
    runs = {"bare matrix products": bare_products(case)}
    for provider in PROVIDERS:
        outcome = outcomes[provider.name] = {}
        if reason := provider.missing(device):
            outcome["left_out"] = reason
            continue
        try:
            outcome["errors"] = relative_errors(provider.run(case), reference)
        except (torch.OutOfMemoryError, NotImplementedError, AssertionError, ImportError) as error:
            outcome["left_out"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            continue
        if max(outcome["errors"].values()) > WRONG:
            outcome["left_out"] = "wrong results"
            continue
        runs[provider.name] = lambda provider=provider: provider.run(case)
        outcome["peak_bytes"] = (
            cuda_peak_bytes(runs[provider.name]) if device == "cuda" else peak_in_fresh_process(provider, case)
        )
    del reference
    for name, times in time_by_turns(runs, device, rounds, seconds).items():
        outcomes.setdefault(name, {}).update(summary(times))
    return {"scored_rows": case.rows.num_rows, "mean_nll": case.mean_nll, "providers": outcomes}


def exact_results(case: Case) -> tuple[torch.Tensor, ...]:
    """Loss and gradients from the same inputs in float32 (float64 on the CPU, whose inputs are float32 already)."""
    dtype = torch.float32 if case.hidden_TD.is_cuda else torch.float64
    hidden, weight = (tensor.detach().to(dtype).requires_grad_() for tensor in (case.hidden_TD, case.weight_VD))
    loss = torch.zeros((), dtype=dtype, device=hidden.device)
    for rows, labels in zip(case.rows.row_index.split(1024), case.rows.labels.split(1024), strict=True):
        part = torch.nn.functional.cross_entropy(hidden[rows] @ weight.t(), labels, reduction="sum")
        (part / case.rows.num_rows).backward()
        loss += part.detach() / case.rows.num_rows
    assert hidden.grad is not None and weight.grad is not None
    return loss, hidden.grad, weight.grad


def peak_in_fresh_process(provider: Provider, case: Case) -> int:
    """Peak resident memory of one run; a fork has no freed memory of its own that a peak could hide in."""
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        torch.set_num_threads(1)
        compacted_logits(small_like(case))  # loads the matrix library
        provider.run(small_like(case))
        sender.send(process_peak_bytes(lambda: provider.run(case)))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    peak = receiver.recv()
    process.join()
    return int(peak)


def small_like(case: Case) -> Case:
    """The first rows of a case against the first classes, to warm up with."""
    rows = case.rows
    few = type(rows)(rows.row_index[:8], rows.labels[:8] % 64, rows.weights[:8], rows.groups[:8], rows.num_groups, 8)
    hidden = case.hidden_TD.detach().clone().requires_grad_()
    weight = case.weight_VD.detach()[:64].clone().requires_grad_()
    labels = torch.where(case.labels_T < 0, -100, case.labels_T % 64)
    return Case(hidden, weight, labels, few, case.mean_nll)


if __name__ == "__main__":
    main()
