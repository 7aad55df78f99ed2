"""The loss as the forward of the `lm_head` module.

The head keeps its class's parameters and names; only its forward gains a second form. Called as a module inside the
model's forward, it lets ZeRO-3 and FSDP hooks gather its weight and reduce its gradient, which a loss that read
`lm_head.weight` by attribute would not (it would see an empty tensor). State dicts, and so exports, do not change.
"""

from __future__ import annotations

import types
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from ecot.errors import ConfigError
from ecot.kernels.attention import model_inputs
from ecot.kernels.linear_cross_entropy import ScoredRows
from ecot.kernels.linear_cross_entropy.peers import LossFunction, LossName, loss_function


class ScoringHead(nn.Linear):
    """An `lm_head` that returns logits, or, given scored rows, their loss without the logits of the others."""

    loss_function: LossFunction
    workspace_bytes: int
    z_loss: float

    def forward(  # type: ignore[override]
        self,
        hidden: Tensor,
        row_index: Tensor | None = None,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
        groups: Tensor | None = None,
        num_groups: int = 1,
        scale: Tensor | float = 1.0,
        num_trained: int | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of `hidden`, or (loss, statistics) of the scored rows.

        Args:
            hidden: `[..., D]`; with scored rows, flattened to `[T, D]`.
            row_index: `[n]` int64, rows of the flattened hidden states, trained ones first.
            labels: `[n]` int64, the token that each row predicts.
            weights: `[n]` float32; 0 for rows that are only monitored.
            groups: `[n]` int64, the group that each row's sums are added to.
            num_groups: number of groups G.
            scale: factor of the loss, typically ranks / sum of weights over the global batch.
            num_trained: how many rows have a weight above 0, where they come first; None where they are unsorted.

        Returns:
            Without `row_index`, logits `[..., V]`. Otherwise the scalar loss `scale * sum(w * nll)` and the float32
            statistics `[G, 5]` of `ecot.kernels.linear_cross_entropy`.
        """
        if row_index is None:
            return super().forward(hidden)
        assert labels is not None and weights is not None and groups is not None
        rows = ScoredRows(row_index, labels, weights.float(), groups, num_groups, num_trained)
        output = self.loss_function(
            hidden.reshape(-1, hidden.shape[-1]),
            self.weight,
            rows,
            scale=scale,
            workspace_bytes=self.workspace_bytes,
            z_loss=self.z_loss,
        )
        return output.loss, output.stats_G5


def install_scoring_head(
    model: PreTrainedModel, workspace_bytes: int, *, impl: LossName = "ecot", z_loss: float = 0.0
) -> None:
    """Give the model's head and forward their second form, in place.

    Args:
        model: any `*ForCausalLM` with a plain linear head, tied or not.
        workspace_bytes: largest buffer of logits.
        impl: whose loss runs (`ecot.kernels.linear_cross_entropy.peers`).
        z_loss: coefficient of the squared logsumexp.

    After it, `model(input_ids, position_ids, ..., row_index=...)` returns (loss, statistics) and any other call works
    as before.

    Raises:
        ConfigError: the head is not a plain linear layer without bias.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.bias is not None:
        raise ConfigError(
            f"the head of {type(model).__name__} is {type(head).__name__}; only a linear head without bias is supported"
        )
    head.__class__ = ScoringHead
    head.workspace_bytes = workspace_bytes
    head.loss_function = loss_function(impl)
    head.z_loss = z_loss
    model.forward = types.MethodType(_scoring_forward, model)


def _scoring_forward(model: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
    if "row_index" not in kwargs:
        return type(model).forward(model, *args, **kwargs)
    return _score(model, **kwargs)


def _score(
    model: PreTrainedModel,
    input_ids: Tensor,
    position_ids: Tensor,
    row_index: Tensor,
    labels: Tensor,
    weights: Tensor,
    groups: Tensor,
    num_groups: int,
    scale: Tensor | float,
    num_trained: int | None = None,
    cu_seqlens: Tensor | None = None,
    max_seqlen: int | None = None,
) -> tuple[Tensor, Tensor]:
    """One micro-batch: packed `[1, T]` with `cu_seqlens`, or right-padded rows `[B, L]` without."""
    inputs = model_inputs(input_ids, position_ids, cu_seqlens, max_seqlen)
    hidden = model.base_model(**inputs).last_hidden_state
    return model.get_output_embeddings()(hidden, row_index, labels, weights, groups, num_groups, scale, num_trained)
