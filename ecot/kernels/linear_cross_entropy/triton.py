"""The softmax step as Triton kernels, with the signatures of `reference.py`.

Everything is cast to float32 right after it is loaded (the interpreter has no working bf16), row offsets are int64
(14,122 rows of 152,064 logits pass 2^31 elements), and there are no atomics, so results are the same in every run.
"""

# Arguments of kernels are pointers and numbers of the device; they have no Python types.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from ecot.kernels.linear_cross_entropy.configs import GROUP_BLOCK, row_launch


@triton.jit
def _soft_capped(logits, softcap):
    """softcap * tanh(logits / softcap); by its series near 0, where the quotient would cancel."""
    ratio = logits / softcap
    decay = tl.exp(-2.0 * tl.abs(ratio))
    far = (1.0 - decay) / (1.0 + decay)
    square = ratio * ratio
    near = ratio * (
        1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0 - square * (17.0 / 315.0 - square * (62.0 / 2835.0))))
    )
    return softcap * tl.where(square < 0.0225, near, tl.where(ratio < 0.0, -far, far))


@triton.jit
def _log1p(value):
    """log(1 + value) for value >= 0; by its series near 0, where the fast logarithm has no relative accuracy."""
    series = value * (1.0 - value * (0.5 - value * (1.0 / 3.0 - value * 0.25)))
    return tl.where(value < 0.01, series, tl.log(1.0 + value))


@triton.jit
def _scan_others(logits_ptr, label, target, vocab, softcap, WITH_SOFTCAP: tl.constexpr, BLOCK: tl.constexpr):
    """Largest logit of the row, mass of all but the label relative to it, and whether another one beats the label.

    The label's column is kept out of the mass, so that 1 - p survives as p -> 1.
    """
    peak = target
    rest = tl.zeros((), dtype=tl.float32)
    beaten = tl.zeros((), dtype=tl.int32)
    for start in range(0, vocab, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        others = (columns < vocab) & (columns != label)
        logits = tl.load(logits_ptr + columns, mask=others, other=0.0).to(tl.float32)
        if WITH_SOFTCAP:
            logits = _soft_capped(logits, softcap)
        logits = tl.where(others, logits, float("-inf"))
        before = (logits > target) | ((logits == target) & (columns < label))
        beaten = tl.maximum(beaten, tl.max(before.to(tl.int32), axis=0))
        new_peak = tl.maximum(peak, tl.max(logits, axis=0))
        rest = rest * tl.exp(peak - new_peak) + tl.sum(tl.exp(logits - new_peak), axis=0)
        peak = new_peak
    return peak, rest, beaten


@triton.jit
def softmax_grad_kernel(
    logits_ptr,
    labels_ptr,
    factors_ptr,
    nll_ptr,
    lse_ptr,
    hits_ptr,
    vocab,
    row_stride,
    softcap,
    z_loss,
    WITH_SOFTCAP: tl.constexpr,
    WITH_GRAD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per row: a pass over the logits for maximum and sum, and one that overwrites them."""
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * row_stride
    label = tl.load(labels_ptr + row)
    target = tl.load(logits_ptr + label).to(tl.float32)
    if WITH_SOFTCAP:
        target = _soft_capped(target, softcap)

    peak, rest, beaten = _scan_others(logits_ptr, label, target, vocab, softcap, WITH_SOFTCAP, BLOCK)
    label_mass = tl.exp(target - peak)
    total = label_mass + rest
    # total is 1 + the mass of all but the largest logit.
    log_total = _log1p(tl.where(target == peak, rest, total - 1.0))
    lse = peak + log_total
    tl.store(nll_ptr + row, peak - target + log_total)
    tl.store(lse_ptr + row, lse)
    tl.store(hits_ptr + row, 1.0 - beaten.to(tl.float32))

    if WITH_GRAD:
        factor = tl.load(factors_ptr + row).to(tl.float32)
        pull = 2.0 * z_loss * lse
        slope = factor * (1.0 + pull) / total
        at_label = factor * (label_mass * pull - rest) / total
        for start in range(0, vocab, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            inside = columns < vocab
            logits = tl.load(logits_ptr + columns, mask=inside, other=0.0).to(tl.float32)
            if WITH_SOFTCAP:
                logits = _soft_capped(logits, softcap)
            grad = tl.where(columns == label, at_label, slope * tl.exp(logits - peak))
            if WITH_SOFTCAP:
                ratio = logits / softcap
                grad *= 1.0 - ratio * ratio
            tl.store(logits_ptr + columns, grad.to(logits_ptr.dtype.element_ty), mask=inside)


@triton.jit
def group_sums_kernel(nll_ptr, weights_ptr, hits_ptr, groups_ptr, sums_ptr, num_rows, BLOCK: tl.constexpr):
    """One program per group, rows in a fixed order: float64 sums without atomics."""
    group = tl.program_id(0)
    weighted = tl.zeros((BLOCK,), dtype=tl.float64)
    plain = tl.zeros((BLOCK,), dtype=tl.float64)
    weight_sum = tl.zeros((BLOCK,), dtype=tl.float64)
    count = tl.zeros((BLOCK,), dtype=tl.float64)
    hit_sum = tl.zeros((BLOCK,), dtype=tl.float64)
    for start in range(0, num_rows, BLOCK):
        rows = start + tl.arange(0, BLOCK)
        inside = rows < num_rows
        member = inside & (tl.load(groups_ptr + rows, mask=inside, other=-1) == group)
        nll = tl.load(nll_ptr + rows, mask=member, other=0.0).to(tl.float64)
        weight = tl.load(weights_ptr + rows, mask=member, other=0.0).to(tl.float64)
        weighted += weight * nll
        plain += nll
        weight_sum += weight
        count += member.to(tl.float64)
        hit_sum += tl.load(hits_ptr + rows, mask=member, other=0.0).to(tl.float64)
    sums_ptr += group * 5
    tl.store(sums_ptr, tl.sum(weighted, axis=0).to(tl.float32))
    tl.store(sums_ptr + 1, tl.sum(plain, axis=0).to(tl.float32))
    tl.store(sums_ptr + 2, tl.sum(weight_sum, axis=0).to(tl.float32))
    tl.store(sums_ptr + 3, tl.sum(count, axis=0).to(tl.float32))
    tl.store(sums_ptr + 4, tl.sum(hit_sum, axis=0).to(tl.float32))


def softmax_grad_(
    logits_CV: Tensor,
    labels_C: Tensor,
    factors_C: Tensor,
    nll_C: Tensor,
    lse_C: Tensor,
    hits_C: Tensor,
    *,
    softcap: float,
    z_loss: float,
    with_grad: bool,
) -> None:
    """As `reference.softmax_grad_`, for float32 and 16-bit logits with contiguous rows."""
    _check_can_run(logits_CV)
    num_rows, vocab = logits_CV.shape
    launch = row_launch(vocab)
    with torch.cuda.device_of(logits_CV):
        softmax_grad_kernel[(num_rows,)](
            logits_CV,
            labels_C,
            factors_C,
            nll_C,
            lse_C,
            hits_C,
            vocab,
            logits_CV.stride(0),
            softcap,
            z_loss,
            WITH_SOFTCAP=softcap != 0,
            WITH_GRAD=with_grad,
            BLOCK=launch.block,
            num_warps=launch.num_warps,
        )


def group_sums(nll_n: Tensor, weights_n: Tensor, hits_n: Tensor, groups_n: Tensor, num_groups: int) -> Tensor:
    """As `reference.group_sums`: [G, 5] float32."""
    _check_can_run(nll_n)
    sums_G5 = torch.empty(num_groups, 5, dtype=torch.float32, device=nll_n.device)
    with torch.cuda.device_of(nll_n):
        group_sums_kernel[(num_groups,)](nll_n, weights_n, hits_n, groups_n, sums_G5, nll_n.shape[0], BLOCK=GROUP_BLOCK)
    return sums_G5


def _check_can_run(tensor: Tensor) -> None:
    if tensor.dtype == torch.float64:
        raise ValueError("the Triton kernels compute in float32; use implementation='torch' for float64")
    if not tensor.is_cuda and not isinstance(softmax_grad_kernel, InterpretedFunction):
        raise ValueError(
            "the Triton kernels need CUDA tensors; use implementation='torch', or set TRITON_INTERPRET=1 before the "
            "first use to run them in the interpreter"
        )
