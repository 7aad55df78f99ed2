"""The same loss from other hands, with the same signature, for comparison in real training.

`torch` makes the logits of the scored rows in one piece; `liger` and `trl` call those libraries on the scored rows,
with the loss per token, since weights differ per token.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, Protocol, get_args

from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from ecot.kernels.linear_cross_entropy.loss import linear_cross_entropy
from ecot.kernels.linear_cross_entropy.reference import group_sums
from ecot.kernels.linear_cross_entropy.rows import LossOutput, ScoredRows

LossName = Literal["ecot", "liger", "trl", "torch"]

_TRL_VOCABULARY_TILE = 32_768
"""Columns per tile, as TRL's trainer passes it."""


class LossFunction(Protocol):
    """`linear_cross_entropy` and its peers."""

    def __call__(
        self,
        hidden_TD: Tensor,
        weight_VD: Tensor,
        rows: ScoredRows,
        *,
        scale: Tensor | float = 1.0,
        workspace_bytes: int | None = None,
        z_loss: float = 0.0,
        softcap: float = 0.0,
    ) -> LossOutput:
        """See `linear_cross_entropy`."""


def loss_function(name: str) -> LossFunction:
    """The loss of that name: `ecot`, `liger`, `trl` or `torch`.

    The peers know no workspace and ignore its bound; their options are refused where the library has none.

    Raises:
        ValueError: there is no such loss.
    """
    if name not in get_args(LossName):
        raise ValueError(f"there is no loss {name!r}; choose one of {', '.join(get_args(LossName))}")
    return linear_cross_entropy if name == "ecot" else _PeerLoss(_PEERS[name])


class _PeerLoss:
    """Weights, scales and sums up what a library gives per token."""

    def __init__(self, score: Callable[[Tensor, Tensor, Tensor, float, float], tuple[Tensor, Tensor, Tensor]]) -> None:
        self.score = score

    def __call__(
        self,
        hidden_TD: Tensor,
        weight_VD: Tensor,
        rows: ScoredRows,
        *,
        scale: Tensor | float = 1.0,
        workspace_bytes: int | None = None,
        z_loss: float = 0.0,
        softcap: float = 0.0,
    ) -> LossOutput:
        hidden_nD = hidden_TD.index_select(0, rows.row_index)
        if rows.num_rows == 0:  # no library takes zero rows; the sum of nothing keeps the graph connected
            loss = scale * (hidden_nD.sum() + weight_VD[:0].sum()).float()
            return LossOutput(loss, hidden_TD.new_zeros(rows.num_groups, 5).float())
        nll, penalty, hits = self.score(hidden_nD, weight_VD, rows.labels, z_loss, softcap)
        loss = scale * (rows.weights * (nll + penalty)).sum()
        stats = group_sums(nll.detach(), rows.weights, hits, rows.groups, rows.num_groups)
        return LossOutput(loss, stats)


def _torch(
    hidden_nD: Tensor, weight_VD: Tensor, labels_n: Tensor, z_loss: float, softcap: float
) -> tuple[Tensor, Tensor, Tensor]:
    logits = linear(hidden_nD, weight_VD).float()
    if softcap:
        logits = softcap * (logits / softcap).tanh()
    nll = cross_entropy(logits, labels_n, reduction="none")
    return nll, z_loss * logits.logsumexp(-1) ** 2, logits.argmax(-1) == labels_n


def _liger(
    hidden_nD: Tensor, weight_VD: Tensor, labels_n: Tensor, z_loss: float, softcap: float
) -> tuple[Tensor, Tensor, Tensor]:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    if not hidden_nD.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError("Liger's loss needs CUDA; choose the loss ecot, trl or torch on the CPU")
    result = liger_fused_linear_cross_entropy(
        hidden_nD,
        weight_VD,
        labels_n,
        lse_square_scale=z_loss,
        reduction="none",
        softcap=softcap or None,
        return_z_loss=True,
        return_predicted_tokens=True,
    )
    # Liger's loss has the z-loss in it, and only that one has a gradient.
    penalty = result.z_loss.float().detach()
    return result.loss.float() - penalty, penalty, result.predicted_tokens == labels_n


def _trl(
    hidden_nD: Tensor, weight_VD: Tensor, labels_n: Tensor, z_loss: float, softcap: float
) -> tuple[Tensor, Tensor, Tensor]:
    from trl.kernels import ChunkedLogProbFunction

    if z_loss:
        raise ValueError("TRL's loss has no z-loss; set z_loss to 0 or choose the loss ecot, liger or torch")
    log_probabilities, *_, is_top1 = ChunkedLogProbFunction.apply(
        hidden_nD, weight_VD, None, labels_n, 1.0, _TRL_VOCABULARY_TILE, softcap or None, 1.0, ("is_top1",)
    )
    return -log_probabilities, log_probabilities.new_zeros(()), is_top1


_PEERS = {"torch": _torch, "liger": _liger, "trl": _trl}
