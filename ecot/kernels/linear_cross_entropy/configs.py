"""Launch shapes of the Triton kernels: a plain table, since autotuning would run an in-place kernel several times."""

from __future__ import annotations

from typing import NamedTuple


class RowLaunch(NamedTuple):
    """How one program walks over one row of logits."""

    block: int
    """Columns per step, a power of two."""
    num_warps: int


def row_launch(vocab: int) -> RowLaunch:
    """16 columns per thread and step: 8,192 columns by 16 warps, fewer of both for small vocabularies.

    Compiled for sm_90 the kernel then takes 87 to 96 registers per thread and spills none; 16,384 columns spill. A row
    of the 32B's 76,800 logits is read in 10 steps. `benchmarks/kernels/sweep_softmax.py` times other choices.
    """
    block = min(8192, 1 << max(5, (vocab - 1).bit_length()))
    return RowLaunch(block, num_warps=max(1, block // 512))


GROUP_BLOCK = 1024
"""Rows per step of the group sums: one program per group walks over all rows."""
