"""The function that users call: checks what it is given and chooses how to run."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ecot.kernels.linear_cross_entropy.chunks import choose_chunk_rows, default_workspace_bytes, num_multiprocessors
from ecot.kernels.linear_cross_entropy.op import linear_cross_entropy_op
from ecot.kernels.linear_cross_entropy.rows import LossOutput, ScoredRows

Implementation = Literal["auto", "torch", "triton"]


def linear_cross_entropy(
    hidden_TD: Tensor,
    weight_VD: Tensor,
    rows: ScoredRows,
    *,
    scale: Tensor | float = 1.0,
    workspace_bytes: int | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    implementation: Implementation = "auto",
) -> LossOutput:
    """Weighted cross-entropy of the scored rows of `hidden_TD @ weight_VD.T`, without the `[T, V]` logits.

    loss = scale * sum over scored rows of weight * (nll + z_loss * logsumexp^2)

    Args:
        hidden_TD: flattened hidden states, [T, D] (call `.flatten(0, -2)`).
        weight_VD: the head's weight, [V, D], of the same dtype (under autocast both are cast to its dtype). A weight
            that needs no gradient costs no GEMM for it.
        rows: what is scored. No rows give a zero loss with zero gradients.
        scale: constant factor, folded into the gradients in float32; a tensor on the device avoids a transfer. It gets
            no gradient.
        workspace_bytes: bound on the logits in memory, in bytes; 1 GiB if not given, 32 MiB on the CPU.
        z_loss: coefficient of the squared logsumexp (PaLM, arXiv 2204.02311, section 5).
        softcap: logits become softcap * tanh(logits / softcap) (Gemma 2, arXiv 2408.00118); 0 for none.
        implementation: `auto` is Triton on CUDA and torch elsewhere.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, or a label outside the vocabulary (checked on the CPU
            only).
    """
    _check(hidden_TD, weight_VD, rows)
    rows = rows.trained_first()
    assert rows.num_trained is not None
    device, compute_dtype = hidden_TD.device, _compute_dtype(hidden_TD, weight_VD)
    if not isinstance(scale, Tensor):
        scale = torch.full((), scale, dtype=torch.float64, device=device)
    grad = torch.is_grad_enabled()
    needs_hidden_grad, needs_weight_grad = grad and hidden_TD.requires_grad, grad and weight_VD.requires_grad
    num_backward = rows.num_trained if needs_hidden_grad or needs_weight_grad else 0
    chunk_rows, monitor_chunk_rows = (
        _chunk_rows(num_rows, weight_VD, compute_dtype, workspace_bytes)
        for num_rows in (rows.num_trained, rows.num_rows - num_backward)
    )
    loss, stats, _, _ = linear_cross_entropy_op(
        hidden_TD, weight_VD, rows.row_index, rows.labels, rows.weights, rows.groups, scale.detach(),
        rows.num_groups, rows.num_trained, chunk_rows, monitor_chunk_rows, compute_dtype,
        float(softcap), float(z_loss), needs_hidden_grad, needs_weight_grad, _choose(implementation, device),
    )  # fmt: skip
    return LossOutput(loss, stats.detach())


def _chunk_rows(num_rows: int, weight_VD: Tensor, dtype: torch.dtype, workspace_bytes: int | None) -> int:
    vocab, width = weight_VD.shape
    if workspace_bytes is None:
        workspace_bytes = default_workspace_bytes(weight_VD.device)
    processors = num_multiprocessors(weight_VD.device)
    return choose_chunk_rows(num_rows, vocab, width, dtype.itemsize, workspace_bytes, processors)


def _compute_dtype(hidden_TD: Tensor, weight_VD: Tensor) -> torch.dtype:
    kind = hidden_TD.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    if weight_VD.dtype != hidden_TD.dtype:
        raise ValueError(
            f"hidden states are {hidden_TD.dtype} and the head's weight is {weight_VD.dtype}; cast one, or use autocast"
        )
    return hidden_TD.dtype


def _choose(implementation: Implementation, device: torch.device) -> str:
    if implementation != "auto":
        return implementation
    return "triton" if device.type == "cuda" else "torch"


def _check(hidden_TD: Tensor, weight_VD: Tensor, rows: ScoredRows) -> None:
    if hidden_TD.ndim != 2 or weight_VD.ndim != 2 or hidden_TD.shape[1] != weight_VD.shape[1]:
        raise ValueError(
            f"hidden states are {tuple(hidden_TD.shape)} and the head's weight is {tuple(weight_VD.shape)}; "
            "give [T, D] and [V, D] (under ZeRO-3 a weight is gathered only inside its module's forward)"
        )
    devices = {tensor.device for tensor in (hidden_TD, weight_VD, rows.row_index, rows.labels, rows.weights)}
    if len(devices) > 1:
        raise ValueError(f"hidden states, weight and rows are on {sorted(map(str, devices))}; move them to one device")
    shapes = {tuple(tensor.shape) for tensor in (rows.row_index, rows.labels, rows.weights, rows.groups)}
    if len(shapes) > 1 or rows.row_index.ndim != 1:
        raise ValueError(f"scored rows have parts of shapes {sorted(shapes)}; give four tensors of one length")
    if hidden_TD.device.type != "cpu" or rows.num_rows == 0 or torch.compiler.is_compiling():
        return  # elsewhere the values are not known without waiting for the device
    for name, values, limit in (
        ("labels", rows.labels, weight_VD.shape[0]),
        ("groups", rows.groups, rows.num_groups),
        ("row_index", rows.row_index, hidden_TD.shape[0]),
    ):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= limit:
            raise ValueError(f"{name} of scored rows span {low}..{high}; they must lie in 0..{limit - 1}")
