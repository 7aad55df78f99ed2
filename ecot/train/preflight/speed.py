"""How long the run takes, from FLOPs, a stated MFU and the bytes that ZeRO-3 moves."""

from __future__ import annotations

from dataclasses import dataclass

from ecot.train.preflight.gpus import Gpu
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
    gpus: int,
    gpus_per_node: int,
    mfu: float,
    tokens: int,
    steps: int,
    branch_steps: int,
    pack_tokens: int,
    packs_per_step: int,
    document_tokens: float,
    dtype_bytes: int,
) -> SpeedEstimate:
    """Time per step and in all; a step takes as long as its packs were full, since ranks wait for the fullest.

    Args:
        tokens: of the plan, padding not counted.
        branch_steps: of the decays that branch off at milestones, besides the plan's `steps`.
        document_tokens: as in `flops_per_token`.
    """
    flops = flops_per_token(shape, document_tokens)
    per_gpu = gpu.bf16_flops * mfu / flops
    compute = pack_tokens / per_gpu
    moved = 3 * dtype_bytes * shape.parameters * (gpus - 1) / gpus
    communication = moved / (gpu.link_bytes if gpus <= gpus_per_node else gpu.network_bytes)
    turns = packs_per_step / gpus
    step = turns * max(compute, communication)
    return SpeedEstimate(
        flops_per_token=flops,
        mfu=mfu,
        tokens_per_second_per_gpu=tokens / (steps * step) / gpus,
        seconds_per_step=step,
        train_seconds=(steps + branch_steps) * step,
        compute_seconds_per_pack=compute,
        communication_seconds_per_pack=communication,
    )
