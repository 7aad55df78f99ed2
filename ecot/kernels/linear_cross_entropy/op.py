"""The operator `ecot::linear_cross_entropy`: one node for autograd, `torch.compile` and export.

Forward computes the loss and everything that the gradients need while each chunk of logits is at hand, so backward
recomputes nothing: three GEMMs in all. What it keeps for dW comes in two forms:

* all trained rows fit one chunk: their logits' gradient, [n, V]; backward makes dW in one GEMM, with the upstream
  gradient folded into the small operand;
* otherwise: dW itself, accumulated in float32 over the chunks; backward folds the upstream gradient into the cast.

The upstream gradient stays on the device: nothing here waits for it.

Shape legend: T flattened positions, D width, V vocabulary, n scored rows, C rows of a chunk, G groups.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ecot.kernels.linear_cross_entropy import reference
from ecot.kernels.linear_cross_entropy.gemm import matmul_into


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def keeps_logit_gradient(num_trained: int, chunk_rows: int, dtype: torch.dtype) -> bool:
    """Whether dW is made in backward from the one chunk's logit gradient.

    float16 always accumulates dW in float32, because the scale may be too small for it: 1 / 65,536 is subnormal.
    """
    return num_trained <= chunk_rows and dtype != torch.float16


def folds_scale(dtype: torch.dtype) -> bool:
    """Whether the scale goes into the logit gradient; for float16 it is applied last, in float32."""
    return dtype != torch.float16


@torch.library.custom_op("ecot::linear_cross_entropy", mutates_args=())
def linear_cross_entropy_op(
    hidden_TD: Tensor,
    weight_VD: Tensor,
    row_index_n: Tensor,
    labels_n: Tensor,
    weights_n: Tensor,
    groups_n: Tensor,
    scale: Tensor,
    num_groups: int,
    num_trained: int,
    chunk_rows: int,
    monitor_chunk_rows: int,
    compute_dtype: torch.dtype,
    softcap: float,
    z_loss: float,
    needs_hidden_grad: bool,
    needs_weight_grad: bool,
    implementation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, statistics [G, 5], dX of the trained rows, and what dW is made of (see the module's docstring)."""
    steps = _implementation(implementation)
    num_rows, num_grad = row_index_n.shape[0], num_trained if needs_hidden_grad or needs_weight_grad else 0
    exact = accumulation_dtype(compute_dtype)
    keeps = keeps_logit_gradient(num_trained, chunk_rows, compute_dtype)
    with torch.autocast(hidden_TD.device.type, enabled=False):
        weight = _dense(weight_VD.to(compute_dtype))
        labels_n, groups_n = labels_n.contiguous(), groups_n.contiguous()
        weights_n, scale = weights_n.to(exact).contiguous(), scale.to(exact)
        factors_n = weights_n * scale if folds_scale(compute_dtype) else weights_n
        nll_n, lse_n, hits_n = torch.empty(3, num_rows, dtype=exact, device=hidden_TD.device)
        d_rows, d_weight = _gradient_buffers(
            hidden_TD, weight_VD, num_trained, needs_hidden_grad, needs_weight_grad and not keeps, exact
        )
        # Monitored rows go first, so that the trained rows' gradient may stay in the same buffer.
        spans = _chunk_spans(num_grad, num_rows, monitor_chunk_rows) + _chunk_spans(0, num_grad, chunk_rows)
        buffer = weight.new_empty(max((stop - start for start, stop in spans), default=0), weight.shape[0])
        for start, stop in spans:
            chunk, with_grad = slice(start, stop), start < num_grad
            rows = hidden_TD.index_select(0, row_index_n[chunk]).to(compute_dtype)
            logits_CV = torch.mm(rows, weight.t(), out=buffer[: stop - start])
            steps.softmax_grad_(
                logits_CV, labels_n[chunk], factors_n[chunk], nll_n[chunk], lse_n[chunk], hits_n[chunk],
                softcap=softcap, z_loss=z_loss, with_grad=with_grad,
            )  # fmt: skip
            if with_grad and needs_hidden_grad:
                matmul_into(logits_CV, weight, d_rows[chunk])
            if with_grad and needs_weight_grad and not keeps:
                matmul_into(logits_CV.t(), rows, d_weight, accumulate=start > 0)
        if needs_weight_grad and keeps:
            d_weight = buffer[:num_grad]
        loss = (weights_n * (nll_n + z_loss * lse_n * lse_n)).sum(dtype=torch.float64).to(exact) * scale
        stats = steps.group_sums(nll_n, weights_n, hits_n, groups_n, num_groups)
    return loss, stats, d_rows, d_weight


def _implementation(name: str) -> ModuleType:
    if name == "torch":
        return reference
    from ecot.kernels.linear_cross_entropy import triton as triton_steps  # compiles only where it is used

    return triton_steps


def _dense(weight_VD: Tensor) -> Tensor:
    """The weight as the GEMMs want it (each would make its own copy of a broadcast one)."""
    return weight_VD if 1 in weight_VD.stride() else weight_VD.contiguous()


def _chunk_spans(start: int, stop: int, chunk_rows: int) -> list[tuple[int, int]]:
    return [(first, min(first + chunk_rows, stop)) for first in range(start, stop, chunk_rows)]


def _gradient_buffers(
    hidden_TD: Tensor, weight_VD: Tensor, num_trained: int, for_rows: bool, for_weight: bool, exact: torch.dtype
) -> tuple[Tensor, Tensor]:
    d_rows = hidden_TD.new_empty(num_trained if for_rows else 0, hidden_TD.shape[1])
    if not for_weight:
        return d_rows, weight_VD.new_empty(0, weight_VD.shape[0])
    make = torch.empty if num_trained else torch.zeros  # the first chunk writes, later ones add
    return d_rows, make(weight_VD.shape, dtype=exact, device=weight_VD.device)


@linear_cross_entropy_op.register_fake
def _(
    hidden_TD: Tensor,
    weight_VD: Tensor,
    row_index_n: Tensor,
    labels_n: Tensor,
    weights_n: Tensor,
    groups_n: Tensor,
    scale: Tensor,
    num_groups: int,
    num_trained: int,
    chunk_rows: int,
    monitor_chunk_rows: int,
    compute_dtype: torch.dtype,
    softcap: float,
    z_loss: float,
    needs_hidden_grad: bool,
    needs_weight_grad: bool,
    implementation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    exact = accumulation_dtype(compute_dtype)
    keeps = keeps_logit_gradient(num_trained, chunk_rows, compute_dtype)
    d_rows, d_weight = _gradient_buffers(
        hidden_TD, weight_VD, num_trained, needs_hidden_grad, needs_weight_grad and not keeps, exact
    )
    if needs_weight_grad and keeps:
        d_weight = weight_VD.new_empty(num_trained, weight_VD.shape[0], dtype=compute_dtype)
    stats = hidden_TD.new_empty(num_groups, 5, dtype=torch.float32)
    return hidden_TD.new_empty((), dtype=exact), stats, d_rows, d_weight


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    hidden_TD, weight_VD, row_index_n, _, _, _, scale, _, num_trained, chunk_rows, _, compute_dtype = inputs[:12]
    ctx.keeps = keeps_logit_gradient(num_trained, chunk_rows, compute_dtype)
    ctx.compute_dtype = compute_dtype
    ctx.needs_hidden_grad, ctx.needs_weight_grad = inputs[14], inputs[15]
    ctx.num_trained = num_trained
    ctx.hidden_shape, ctx.hidden_dtype = hidden_TD.shape, hidden_TD.dtype
    ctx.weight_shape, ctx.weight_dtype = weight_VD.shape, weight_VD.dtype
    hidden_for_weight = hidden_TD if ctx.needs_weight_grad and ctx.keeps else None
    ctx.save_for_backward(hidden_for_weight, row_index_n, scale, output[2], output[3])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, d_loss: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        raise RuntimeError("linear_cross_entropy has no second derivative; call backward without create_graph=True")
    d_hidden = d_weight = None
    if d_loss is not None:
        hidden_TD, row_index_n, scale, d_rows, weight_state = ctx.saved_tensors
        trained = row_index_n[: ctx.num_trained]
        exact = accumulation_dtype(ctx.compute_dtype)
        upstream = d_loss.to(exact) if folds_scale(ctx.compute_dtype) else d_loss.to(exact) * scale.to(exact)
        if ctx.needs_hidden_grad:
            d_hidden = d_rows.new_zeros(ctx.hidden_shape)
            d_hidden.index_copy_(0, trained, _scaled(d_rows, upstream, ctx.hidden_dtype))
        if ctx.needs_weight_grad and ctx.keeps:
            rows = _scaled(hidden_TD.index_select(0, trained), upstream, ctx.compute_dtype)
            d_weight = rows.new_empty(ctx.weight_shape, dtype=ctx.weight_dtype)
            matmul_into(weight_state.t(), rows, d_weight)
        elif ctx.needs_weight_grad:
            d_weight = _scaled(weight_state, upstream, ctx.weight_dtype)
    return d_hidden, d_weight, *(None,) * 15


def _scaled(tensor: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor * factor`, rounded once into `dtype`. A 0-dimensional factor would first be rounded to 16 bits."""
    return torch.mul(tensor, factor.reshape(1, 1), out=torch.empty_like(tensor, dtype=dtype))


linear_cross_entropy_op.register_autograd(_backward, setup_context=_setup_context)
