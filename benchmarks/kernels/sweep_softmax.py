"""Times launch shapes of the Triton softmax step on the GPU at hand, to check the table in `configs.py`.

python -m benchmarks.kernels.sweep_softmax
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.kernels.measure import summary, time_by_turns
from benchmarks.kernels.shapes import GPU_HEADS, HEADS
from ecot.kernels.linear_cross_entropy.configs import row_launch
from ecot.kernels.linear_cross_entropy.triton import softmax_grad_kernel

ROWS = 4096
BLOCKS = (2048, 4096, 8192, 16_384)
WARPS = (4, 8, 16, 32)


def launch(tensors: tuple[Tensor, ...], block: int, num_warps: int) -> None:
    vocab = tensors[0].shape[1]
    softmax_grad_kernel[(ROWS,)](
        *tensors, vocab, vocab, 0.0, 0.0, WITH_SOFTCAP=False, WITH_GRAD=True, BLOCK=block, num_warps=num_warps
    )


def main() -> None:
    for head in GPU_HEADS:
        vocab = HEADS[head].vocab
        logits = torch.randn(ROWS, vocab, device="cuda", dtype=torch.bfloat16)
        labels = torch.randint(0, vocab, (ROWS,), device="cuda")
        factors, nll, lse, hits = torch.rand(4, ROWS, device="cuda")

        tensors = (logits, labels, factors, nll, lse, hits)
        runs = {(block, warps): partial(launch, tensors, block, warps) for block in BLOCKS for warps in WARPS}
        for run in runs.values():  # compile
            run()
        times = time_by_turns(runs, "cuda", rounds=20, seconds=60)
        medians = {shape: summary(launches)["median_ms"] for shape, launches in times.items()}
        traffic = 3 * logits.numel() * logits.element_size()  # two reads, one write
        chosen = row_launch(vocab)
        print(f"{head}: chosen {chosen.block} columns, {chosen.num_warps} warps: {medians[tuple(chosen)]:.3f} ms")
        for (block, warps), median in sorted(medians.items(), key=lambda item: item[1])[:5]:
            print(f"  {block:6} columns, {warps:2} warps: {median:.3f} ms, {traffic / median / 1e9:.2f} TB/s")


if __name__ == "__main__":
    main()
