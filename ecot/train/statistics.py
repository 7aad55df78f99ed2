"""Loss and accuracy per segment kind, domain and attempt, from the sums that the loss returns in the same pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ecot.data_mix.groups import NUM_GROUPS, Group, marginalise
from ecot.kernels.linear_cross_entropy import STAT_NAMES
from ecot.segments import SUPERVISED_KINDS
from ecot.train.distributed import sum_over_ranks

NLL, COUNT, HITS = (STAT_NAMES.index(name) for name in ("nll", "count", "top1_hits"))
"""Columns of the statistics `[G, 5]` used here."""


class LossStatistics:
    """Sums over the steps since the last drain, kept on the device so that no step waits for the host."""

    def __init__(self, device: torch.device) -> None:
        self._step_G5 = torch.zeros(NUM_GROUPS, 5, dtype=torch.float64, device=device)
        self._step_loss = torch.zeros((), dtype=torch.float64, device=device)
        self._sums_G5 = torch.zeros_like(self._step_G5)
        self._loss = torch.zeros_like(self._step_loss)
        self._steps = 0

    def add(self, loss: Tensor, stats_G5: Tensor) -> None:
        """Add one micro-batch to the present step."""
        self._step_loss += loss.detach()
        self._step_G5 += stats_G5

    def finish_step(self, counts: bool) -> None:
        """Close the present step; its sums are forgotten unless it `counts`."""
        if counts:
            self._loss += self._step_loss
            self._sums_G5 += self._step_G5
            self._steps += 1
        self._step_loss.zero_()
        self._step_G5.zero_()

    def drain(self, num_ranks: int) -> dict[str, float]:
        """Sum over ranks (a collective call), forget, and name the means.

        Returns:
            `loss`, the mean over steps of the loss that was minimised, and what `name_means` gives; nothing when no
            step counted.
        """
        steps, self._steps = self._steps, 0
        sums_G5 = sum_over_ranks(self._sums_G5.clone()).cpu()
        loss = sum_over_ranks(self._loss.clone()).item()
        self._sums_G5.zero_()
        self._loss.zero_()
        if steps == 0:
            return {}
        # Each rank's loss carries a factor of the number of ranks, which averages gradients over them.
        return {"loss": loss / (steps * num_ranks), **name_means(sums_G5)}


def name_means(sums_G5: Tensor) -> dict[str, float]:
    """Unweighted mean loss (nats per token) and top-1 accuracy by kind, and of supervised tokens by domain and attempt.

    Args:
        sums_G5: `[NUM_GROUPS, 5]` float64.

    Returns:
        `loss/<kind>`, `loss/domain/<domain>`, `loss/attempt/<k>`, and `accuracy/...` of each; names without tokens are
        left out.
    """
    means: dict[str, float] = {}
    for kind, row in marginalise(sums_G5, lambda group: group.kind).items():
        if row[COUNT] > 0:
            means[f"loss/{kind.name.lower()}"] = float(row[NLL] / row[COUNT])
            means[f"accuracy/{kind.name.lower()}"] = float(row[HITS] / row[COUNT])
    for prefix, attribute in (("domain", "domain"), ("attempt", "attempt")):
        for key, row in marginalise(sums_G5, _supervised(attribute)).items():
            if key is not None and row[COUNT] > 0:
                means[f"loss/{prefix}/{key}"] = float(row[NLL] / row[COUNT])
                means[f"accuracy/{prefix}/{key}"] = float(row[HITS] / row[COUNT])
    return means


def _supervised(attribute: str) -> Callable[[Group], Any]:
    """A key for `marginalise`: the attribute of groups of supervised kinds, None for the others."""
    return lambda group: getattr(group, attribute) if group.kind in SUPERVISED_KINDS else None
