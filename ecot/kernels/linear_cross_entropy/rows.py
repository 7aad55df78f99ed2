"""What goes into the loss and what comes out of it.

Shape legend: T flattened positions, n scored rows, G groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

STAT_NAMES = ("weighted_nll", "nll", "weight", "count", "top1_hits")
"""Columns of `LossOutput.stats_G5`, in order."""


@dataclass(frozen=True)
class ScoredRows:
    """The rows of the flattened hidden states that are scored, with what each must predict.

    Rows whose weight is not zero are trained; rows of weight zero are *monitored*: they enter the statistics and get no
    gradient. How many are trained is known on the host, so the device is never asked.
    """

    row_index: Tensor
    """[n] int64: positions in the flattened hidden states, unique; ascending (within the trained and within the
    monitored rows, once `trained_first` was called)."""
    labels: Tensor
    """[n] int64 in [0, V): the token that each row predicts. Already shifted."""
    weights: Tensor
    """[n] float32: the loss weight of the predicted token."""
    groups: Tensor
    """[n] int64 in [0, num_groups): the statistics row that each scored row is added to."""
    num_groups: int
    num_trained: int | None = None
    """Given by `trained_first`: the first so many rows are trained and the rest are monitored. None: not sorted yet."""

    @property
    def num_rows(self) -> int:
        """How many rows are scored."""
        return self.row_index.shape[0]

    def trained_first(self) -> ScoredRows:
        """Trained rows before monitored ones, each part in its old order.

        Rows that are on a device already, unsorted, all take the trained path, since counting them would wait for the
        device: the results are the same, and monitored rows cost as much as trained ones.
        """
        if self.num_trained is not None:
            return self
        if self.weights.device.type != "cpu":
            return replace(self, num_trained=self.num_rows)
        trained = self.weights != 0
        num_trained = int(trained.sum())
        if num_trained == self.num_rows:
            return replace(self, num_trained=num_trained)
        order = torch.cat([trained.nonzero()[:, 0], (~trained).nonzero()[:, 0]])
        return ScoredRows(
            self.row_index[order],
            self.labels[order],
            self.weights[order],
            self.groups[order],
            self.num_groups,
            num_trained,
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> ScoredRows:
        """The rows on `device`; on their way from the CPU they are sorted `trained_first`."""
        rows = self.trained_first() if self.weights.device.type == "cpu" else self
        return rows._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> ScoredRows:
        """The rows, sorted `trained_first`, in page-locked memory (the data loader calls this)."""
        return self.trained_first()._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> ScoredRows:
        return replace(
            self,
            row_index=function(self.row_index),
            labels=function(self.labels),
            weights=function(self.weights),
            groups=function(self.groups),
        )


@dataclass(frozen=True)
class LossOutput:
    """The loss of one micro-batch and its statistics."""

    loss: Tensor
    """Scalar, float32 (float64 for float64 inputs): scale * sum(weight * (nll + z_loss * logsumexp^2))."""
    stats_G5: Tensor  # noqa: N815
    """[num_groups, 5] float32, detached; columns `STAT_NAMES`. Unscaled, without the z-loss term. A row is a top-1 hit
    when argmax of its logits is its label (the first of equal logits counts)."""
