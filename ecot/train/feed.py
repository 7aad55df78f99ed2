"""Packs for one rank: seeks to any step at once, and gives the same stream at every number of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ecot.data_mix.batch import Collator, Shard
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.spans import SpanCollator
from ecot.kernels.linear_cross_entropy import ScoredRows
from ecot.train.layout import RankLayout


class RankPacks(Dataset[dict[str, Any]]):
    """The micro-batches of one rank over the whole plan: item `step * accumulation + k` is its k-th pack of a step.

    The collator cuts this rank's stretch out of each. Beside the model's inputs each holds `weight_sum`, the sum of its
    rows' weights. With `on_device` its rows are made by `ecot.data_mix.spans.expand_inputs` once it is there.
    """

    def __init__(
        self, plan: PackPlan, collator: Collator, layout: RankLayout, rank: int, *, on_device: bool = False
    ) -> None:
        plan.check_ranks(layout.data_ranks)
        assert collator.shard == Shard(layout.sequence_rank(rank), layout.sequence_ranks)
        self.plan = plan
        self.collator = collator
        self.spans = SpanCollator(collator) if on_device else None
        self.layout = layout
        self.rank = rank
        self.accumulation = layout.accumulation

    def __len__(self) -> int:
        return self.plan.num_steps * self.accumulation

    def __getitem__(self, index: int) -> dict[str, Any]:
        step, turn = divmod(index, self.accumulation)
        pack = self.plan.packs(step)[self.layout.data_rank(self.rank) + turn * self.layout.data_ranks]
        if self.spans is not None:
            spans = self.spans(pack)
            return spans.to_inputs() | {"weight_sum": spans.weight_sum}
        batch = self.collator(pack)
        return _trained_first(batch.to_inputs()) | {"weight_sum": batch.weight_sum}


def _trained_first(inputs: dict[str, Any]) -> dict[str, Any]:
    """Sort monitored rows behind trained ones while the rows are on the CPU and their number costs no wait."""
    rows = ScoredRows(*(inputs[name] for name in ("row_index", "labels", "weights", "groups", "num_groups")))
    rows = rows.trained_first()
    return inputs | {field.name: getattr(rows, field.name) for field in fields(rows)}


class FromStep(Sampler[int]):
    """Indices from a step on. Its length is that of the whole plan, since the trainer counts steps of the plan."""

    def __init__(self, packs: RankPacks, start_step: int) -> None:
        self.total = len(packs)
        self.start = start_step * packs.accumulation

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))


def pack_loader(packs: RankPacks, start_step: int, workers: int, pin_memory: bool) -> DataLoader[dict[str, Any]]:
    """A loader of one rank's micro-batches from `start_step`; packs are collated in `workers` processes."""
    return DataLoader(
        packs,
        batch_size=None,
        sampler=FromStep(packs, start_step),
        num_workers=workers,
        pin_memory=pin_memory,
        # Workers only slice arrays; forked after torch is imported they start at once.
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_one_thread if workers else None,
        prefetch_factor=4 if workers else None,
    )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
