"""How many rows of logits are in memory at once.

Figures: the multiple-of-128 rule and the wave count follow from 128 x 256 output tiles, the usual choice of cuBLAS on
Hopper. Powers of two are bad at D = 5120: 1024 rows leave 39% of the last wave of 132 multiprocessors idle, 1664 rows
2%.
"""

from __future__ import annotations

import torch

DEFAULT_WORKSPACE_BYTES = 1 << 30
"""1 GiB: 6,990 rows of the 32B's 76,800 logits in bf16."""
CPU_WORKSPACE_BYTES = 1 << 25
"""32 MiB: larger tiles fall out of the caches and gain nothing on a CPU."""

_TILE_ROWS = 128
_TILE_COLUMNS = 256


def default_workspace_bytes(device: torch.device) -> int:
    """The bound on logits in memory where the caller gives none."""
    return CPU_WORKSPACE_BYTES if device.type == "cpu" else DEFAULT_WORKSPACE_BYTES


def num_multiprocessors(device: torch.device) -> int:
    """Multiprocessors of a CUDA device; 1 elsewhere, where waves do not matter."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def wave_efficiency(rows: int, width: int, processors: int) -> float:
    """Share of the multiprocessors at work, over the whole [rows, width] output of a GEMM."""
    tiles = -(-rows // _TILE_ROWS) * -(-width // _TILE_COLUMNS)
    waves = -(-tiles // processors)
    return tiles / (waves * processors)


def choose_chunk_rows(
    num_rows: int, vocab: int, width: int, element_bytes: int, workspace_bytes: int, processors: int = 1
) -> int:
    """Rows per chunk: as `num_rows` when their logits fit the workspace, otherwise even chunks that do.

    Among the multiples of 128 within the workspace the most efficient one for the dX GEMM ([rows, width] output) sets
    the number of chunks; larger ones win ties, and anything below half of the workspace is not considered, since every
    chunk reads and writes the whole dW accumulator. A workspace smaller than 128 rows of logits is used as it is, down
    to a single row.
    """
    if workspace_bytes <= 0:
        raise ValueError(f"workspace_bytes is {workspace_bytes}; give a positive number of bytes, such as 1 << 30")
    most = max(1, workspace_bytes // (vocab * element_bytes))
    if num_rows <= most:
        return max(1, num_rows)
    if most < _TILE_ROWS:
        return most
    largest = most // _TILE_ROWS * _TILE_ROWS
    smallest = max(_TILE_ROWS, largest // 2 // _TILE_ROWS * _TILE_ROWS)
    candidates = range(largest, smallest - 1, -_TILE_ROWS)
    best = max(candidates, key=lambda rows: wave_efficiency(rows, width, processors))
    num_chunks = -(-num_rows // best)
    even = -(-num_rows // num_chunks)
    return min(best, -(-even // _TILE_ROWS) * _TILE_ROWS)
