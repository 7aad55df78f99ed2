"""Attention within the documents of a pack: every implementation installed, forward and backward, time and memory.

    python -m benchmarks.kernels.bench_attention --out benchmarks/results/attention_gpu.json
    OMP_NUM_THREADS=1 python -m benchmarks.kernels.bench_attention --device cpu \
        --out benchmarks/results/attention_cpu.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.kernels.measure import cuda_peak_bytes, environment, relative_errors, summary, time_by_turns, write_json
from ecot.kernels.attention.ragged import implementations

HEADS, KV_HEADS, WIDTH = 40, 8, 128  # the 32B's
CPU_HEADS, CPU_KV_HEADS, CPU_WIDTH = 8, 2, 64
PACKS = {
    "32 documents": [1024] * 32,
    "8 documents": [4096] * 8,
    "one document": [32_768],
    "mixed": [16_384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 64],
}
CPU_SCALE = 16
"""Documents are so many times shorter on the CPU."""

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def block_mask_sdpa(lengths: list[int], query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One SDPA with a [T, T] mask of documents: what transformers' `sdpa` does with a pack."""
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(query.device)
    position = torch.arange(len(document), device=query.device)
    mask = (document[:, None] == document) & (position[:, None] >= position)
    heads_first = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
    return scaled_dot_product_attention(*heads_first, attn_mask=mask, enable_gqa=True)[0].transpose(0, 1)


def candidates(lengths: list[int], device: str) -> dict[str, Attention]:
    boundaries = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
    found: dict[str, Attention] = {"sdpa with a block mask": partial(block_mask_sdpa, lengths)}
    for suffix, attend in implementations().items():
        if suffix == "_sdpa" or device == "cuda":
            found[f"ecot_varlen{suffix}"] = lambda query, key, value, attend=attend: attend(
                query, key, value, boundaries, max(lengths), None, None
            )
    return found


def measure_pack(name: str, device: str, rounds: int) -> dict[str, Any]:
    on_gpu = device == "cuda"
    lengths = [max(1, length // (1 if on_gpu else CPU_SCALE)) for length in PACKS[name]]
    heads, kv_heads, width = (HEADS, KV_HEADS, WIDTH) if on_gpu else (CPU_HEADS, CPU_KV_HEADS, CPU_WIDTH)
    dtype = torch.bfloat16 if on_gpu else torch.float32
    torch.manual_seed(0)
    states = [
        torch.randn(sum(lengths), count, width, device=device, dtype=dtype, requires_grad=True)
        for count in (heads, kv_heads, kv_heads)
    ]
    upstream = torch.randn(sum(lengths), heads, width, device=device, dtype=dtype)

    def run(attend: Attention, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        output = attend(*inputs)
        return (output.detach(), *torch.autograd.grad(output, inputs, upstream.to(output.dtype)))

    exact_inputs = [tensor.detach().float().requires_grad_() for tensor in states]
    reference = run(candidates(lengths, "cpu" if not on_gpu else device)["ecot_varlen_sdpa"], exact_inputs)[:3]
    outcomes: dict[str, dict[str, Any]] = {}
    runs = {}
    for candidate, attend in candidates(lengths, device).items():
        errors = relative_errors(run(attend, states)[:3], reference)
        outcomes[candidate] = {"errors": dict(zip(("output", "d_query", "d_key"), errors.values(), strict=True))}
        if max(errors.values()) > 0.05:
            outcomes[candidate]["left_out"] = "wrong results"
            continue
        runs[candidate] = partial(run, attend, states)
        if on_gpu:
            outcomes[candidate]["peak_bytes"] = cuda_peak_bytes(runs[candidate])
    for candidate, times in time_by_turns(runs, device, rounds, seconds=60).items():
        outcomes[candidate].update(summary(times))
    shape = {"tokens": sum(lengths), "documents": len(lengths), "heads": heads, "kv_heads": kv_heads, "width": width}
    return {"pack": name, **shape, "implementations": outcomes}


def table(results: dict[str, Any]) -> str:
    environment = results["environment"]
    lines = [
        f"# Attention within documents on {environment.get('gpu') or environment.get('cpu')}",
        "",
        f"torch {environment['versions']['torch']}; commit {environment['commit']}; {environment['date']}; forward and "
        "backward, medians" + ("" if results["device"] == "cuda" else " of the CPU time of one thread"),
        "",
        "| pack | tokens | implementation | ms | peak MiB | error of output |",
        "|---|---|---|---|---|---|",
    ]
    for pack in results["packs"]:
        for name, outcome in pack["implementations"].items():
            time = f"{outcome['median_ms']:.2f}" if "median_ms" in outcome else outcome["left_out"]
            peak = f"{outcome['peak_bytes'] / (1 << 20):.0f}" if "peak_bytes" in outcome else ""
            error = outcome["errors"]["output"]
            lines.append(f"| {pack['pack']} | {pack['tokens']:,} | {name} | {time} | {peak} | {error:.1e} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; the table gets the suffix .md")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    packs = [measure_pack(name, arguments.device, arguments.rounds) for name in PACKS]
    results = {"device": arguments.device, "environment": environment(arguments.device), "packs": packs}
    write_json(arguments.out, results)
    arguments.out.with_suffix(".md").write_text(table(results), "utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
