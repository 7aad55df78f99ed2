"""How fast a run goes and where its time goes: throughput, MFU, waiting for data, ranks that differ, padding."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from transformers import PretrainedConfig

from ecot.data_mix.plan import PackPlan
from ecot.data_mix.store import DocumentStore
from ecot.train.layout import RankLayout
from ecot.train.preflight.gpus import GPUS, name_of

CLOCK = frozenset({"tokens_per_second", "tokens_per_second_per_gpu", "mfu", "data_wait_share", "step_time_imbalance"})
"""Logged figures that depend on the clock: two runs of the same plan differ in them."""


@dataclass(frozen=True)
class Workload:
    """What a token costs, in the FLOPs of forward and backward; recomputation is not counted, so MFU is comparable."""

    per_token: float
    """6 per multiplied parameter (Kaplan et al. 2020, section 2.1): all matrices but the embedding."""
    per_pair: float
    """6 x layers x heads x head_dim per squared document token: half of PaLM's 12 (appendix B), being causal."""

    def flops(self, lengths_squared: int, tokens: int) -> float:
        """FLOPs of documents with so many tokens, and so many squared lengths in all."""
        return self.per_token * tokens + self.per_pair * lengths_squared


def workload_of(model: nn.Module, config: PretrainedConfig) -> Workload:
    """The workload of a decoder, sharded by ZeRO-3 or not."""
    embedding = model.get_input_embeddings().weight  # type: ignore[operator]
    matrices = [p for p in model.parameters() if len(_shape(p)) > 1]
    multiplied = sum(_shape(p).numel() for p in matrices if p is not embedding or config.tie_word_embeddings)
    head_dim = config.to_dict().get("head_dim") or config.hidden_size // config.num_attention_heads
    return Workload(6 * multiplied, 6 * config.num_hidden_layers * config.num_attention_heads * head_dim)


def _shape(parameter: torch.Tensor) -> torch.Size:
    """The whole shape also where only a shard is here: DeepSpeed leaves an empty tensor in its place."""
    return parameter.__dict__.get("ds_shape", parameter.shape)


def peak_flops(stated: float | None) -> float | None:
    """The peak that MFU is relative to: what is stated, or this GPU's dense bf16 peak; None where it is unknown."""
    if stated is not None or not torch.cuda.is_available():
        return stated
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    gpu = GPUS.get(name_of(properties.name, str(properties.total_memory // 2**20)))
    return gpu.bf16_flops if gpu else None


class Meter:
    """Times the steps of one rank; rows are drained by all ranks together.

    Args:
        plan: what the steps hold.
        store: lengths of its documents.
        layout: how the ranks share its packs.
        peak: FLOP/s of one rank, or None: then no MFU.
        clock: seconds.
    """

    def __init__(
        self,
        plan: PackPlan,
        store: DocumentStore,
        layout: RankLayout,
        peak: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan, self.store, self.layout, self.peak, self.clock = plan, store, layout, peak, clock
        self.workload: Workload | None = None
        self._began = self._seconds = self._waited = 0.0
        self._steps = 0

    def begin_step(self) -> None:
        """The rank asks for the data of a step."""
        self._began = self.clock()

    def have_data(self) -> None:
        """It has them."""
        self._waited += self.clock() - self._began

    def finish_step(self) -> None:
        """The optimizer has stepped."""
        self._seconds += self.clock() - self._began
        self._steps += 1

    def drain(self, step: int, device: torch.device) -> dict[str, float]:
        """Figures of the steps since the last drain, of which `step` (from 1) was the last: a collective call.

        Returns:
            `tokens_per_second`, `tokens_per_second_per_gpu`, `mfu` where the peak is known, `data_wait_share` (of the
            rank that waits longest), `step_time_imbalance` (longest / mean over ranks; every gather of ZeRO-3 makes
            ranks wait for each other, so it is near 1 unless one waits for data), `planned_imbalance` (the same of the
            packs' estimated costs, turn by turn) and `padding_share`.
        """
        steps, self._steps = self._steps, 0
        mine = torch.tensor([self._seconds, self._waited], dtype=torch.float64, device=device)
        self._seconds = self._waited = 0.0
        if steps == 0:
            return {}
        seconds, waited = _over_ranks(mine)
        tokens = self.plan.tokens_until(step) - self.plan.tokens_until(step - steps)
        rate = tokens / max(seconds.max().item(), 1e-9)
        row = {
            "tokens_per_second": rate,
            "tokens_per_second_per_gpu": rate / self.layout.world_size,
            "data_wait_share": (waited / seconds.clamp(min=1e-9)).max().item(),
            "step_time_imbalance": (seconds.max() / seconds.mean().clamp(min=1e-9)).item(),
            "planned_imbalance": self._planned_imbalance(range(step - steps, step)),
            "padding_share": 1 - tokens / (steps * self.plan.packs_per_step * self.plan.pack_tokens),
        }
        if self.peak is not None and self.workload is not None:
            flops = self.workload.flops(self._squares(range(step - steps, step)), tokens)
            row["mfu"] = flops / max(seconds.max().item(), 1e-9) / (self.peak * self.layout.world_size)
        return row

    def _squares(self, steps: range) -> int:
        documents = [index for step in steps for pack in self.plan.packs(step) for index in pack.documents]
        return int((self.store.lengths[documents] ** 2).sum())

    def _planned_imbalance(self, steps: range) -> float:
        """Cost of the dearest rank / mean, with ranks waiting for each other after every micro-batch."""
        first, last = steps.start * self.plan.packs_per_step, steps.stop * self.plan.packs_per_step
        costs = self.plan.costs[first:last].reshape(-1, self.layout.data_ranks)
        return float(costs.max(axis=1).sum() / max(costs.mean(axis=1).sum(), 1e-9))


def _over_ranks(mine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both figures of every rank, as `[ranks]` each."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mine[:1], mine[1:]
    everyone = torch.empty(dist.get_world_size() * len(mine), dtype=mine.dtype, device=mine.device)
    dist.all_gather_into_tensor(everyone, mine)
    return everyone[0::2], everyone[1::2]
