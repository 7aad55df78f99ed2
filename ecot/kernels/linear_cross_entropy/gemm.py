"""Matrix products into a given buffer, with a float32 result from 16-bit operands."""

from __future__ import annotations

import torch
from torch import Tensor


def matmul_into(left: Tensor, right: Tensor, out: Tensor, *, accumulate: bool = False) -> Tensor:
    """`out = left @ right`, or `out += left @ right`; sums are kept in float32 or better, rounded once into `out`.

    `out` may be float32 where the operands are 16-bit: on CUDA the tensor cores write their float32 sums, elsewhere the
    operands are cast first.
    """
    if left.dtype == out.dtype:
        return torch.addmm(out, left, right, out=out) if accumulate else torch.mm(left, right, out=out)
    if left.is_cuda:
        if accumulate:
            return torch.addmm(out, left, right, out_dtype=out.dtype, out=out)
        return torch.mm(left, right, out_dtype=out.dtype, out=out)
    return matmul_into(left.to(out.dtype), right.to(out.dtype), out, accumulate=accumulate)
