"""Shapes that are measured. T tokens of a micro-batch, D model width, V vocabulary."""

from __future__ import annotations

from typing import NamedTuple


class Head(NamedTuple):
    width: int
    vocab: int


HEADS = {
    "incoder-32b": Head(5120, 76_800),
    "qwen-32b": Head(5120, 152_064),
    "llama-8b": Head(4096, 128_256),
    "cpu-small": Head(256, 8_192),
    "cpu-medium": Head(512, 32_768),
}
GPU_HEADS = ("incoder-32b", "qwen-32b", "llama-8b")
GPU_TOKENS = (2048, 8192, 32_768)
CPU_HEADS = ("cpu-small", "cpu-medium")
CPU_TOKENS = (2048,)
SHARES = (1.0, 0.5, 0.3)
"""Of the tokens, how many are supervised."""
