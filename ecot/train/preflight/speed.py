"""How long the run takes, from FLOPs, a stated MFU and the bytes that ZeRO-3 moves."""

from __future__ import annotations

from dataclasses import dataclass

from ecot.train.layout import RankLayout
from ecot.train.preflight.gpus import Gpu
from ecot.train.preflight.memory import exchanged_width
from ecot.train.preflight.shape import ModelShape

DEFAULT_MFU = 0.35
"""Share of the bf16 peak. llm-foundry reports 43.9 % (2k), 35.9 % (4k) and 29.9 % (8k tokens) for a dense 30B with
full sharding and activation checkpointing on H100; recomputation is not counted in it. Ours is not measured yet."""


@dataclass(frozen=True)
class SpeedEstimate:
    """The run's time on N GPUs."""

    flops_per_token: float
    mfu: float
    """The assumption."""
    tokens_per_second_per_gpu: float
    seconds_per_step: float
    train_seconds: float
    """All steps, those of branches at milestones too, without saves."""
    compute_seconds_per_pack: float
    communication_seconds_per_pack: float
    """Gathering weights twice and reducing gradients once; hidden behind the computation while it is shorter."""
    exchange_seconds_per_pack: float
    """Sequence ranks exchanging heads; nothing hides it. 0 where each pack has a rank of its own."""


def flops_per_token(shape: ModelShape, document_tokens: float) -> float:
    """Model FLOPs of forward and backward per token, without recomputation (so the MFU is comparable).

    6 per multiplied parameter (Kaplan et al. 2020, section 2.1) and, for causal attention inside documents of
    `document_tokens`, 6 x layers x heads x head_dim x length (half of PaLM's 12 L H Q T, appendix B, which counts the
    full square). `document_tokens` is the mean over tokens: sum of squares / sum of lengths.
    """
    attention = 6 * shape.layers * shape.heads * shape.head_dim * document_tokens
    return 6 * shape.multiplied_parameters + attention


def estimate_speed(
    shape: ModelShape,
    gpu: Gpu,
    *,
    layout: RankLayout,
    gpus_per_node: int,
    mfu: float,
    tokens: int,
    steps: int,
    branch_steps: int,
    pack_tokens: int,
    document_tokens: float,
    dtype_bytes: int,
    recomputed: bool,
) -> SpeedEstimate:
    """Time per step and in all; a step takes as long as its packs were full, since ranks wait for the fullest.

    Args:
        layout: one rank per GPU.
        tokens: of the plan, padding not counted.
        branch_steps: of the decays that branch off at milestones, besides the plan's `steps`.
        document_tokens: as in `flops_per_token`.
        recomputed: whether backward makes each layer's forward again, its exchange among sequence ranks too.
    """
    gpus = layout.world_size
    flops = flops_per_token(shape, document_tokens)
    per_gpu = gpu.bf16_flops * mfu / flops
    compute = pack_tokens / layout.sequence_ranks / per_gpu
    moved = 3 * dtype_bytes * shape.parameters * (gpus - 1) / gpus
    communication = moved / (gpu.link_bytes if gpus <= gpus_per_node else gpu.network_bytes)
    exchange = _exchange_seconds(shape, gpu, layout, gpus_per_node, pack_tokens, dtype_bytes, 3 if recomputed else 2)
    step = layout.accumulation * (max(compute, communication) + exchange)
    return SpeedEstimate(
        flops_per_token=flops,
        mfu=mfu,
        tokens_per_second_per_gpu=tokens / (steps * step) / gpus,
        seconds_per_step=step,
        train_seconds=(steps + branch_steps) * step,
        compute_seconds_per_pack=compute,
        communication_seconds_per_pack=communication,
        exchange_seconds_per_pack=exchange,
    )


def _exchange_seconds(
    shape: ModelShape,
    gpu: Gpu,
    layout: RankLayout,
    gpus_per_node: int,
    pack_tokens: int,
    dtype_bytes: int,
    passes: int,
) -> float:
    """Per pack: q, k, v there and the output back, in every layer and pass; a rank keeps its own part."""
    ranks = layout.sequence_ranks
    width = exchanged_width(shape, ranks) + shape.heads * shape.head_dim
    moved = passes * shape.layers * dtype_bytes * width * pack_tokens / ranks * (ranks - 1) / ranks
    return moved / (gpu.network_bytes if layout.crosses_nodes(gpus_per_node) else gpu.link_bytes)
