"""Implementations of the loss at the head, each from (hidden, weight, labels or rows) to loss and both gradients.

A provider that is not installed, or cannot run on the device, says why instead. Those without per-token weights are
served all the same, since every supervised row has weight 1 here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.kernels.inputs import Case
from ecot.kernels.linear_cross_entropy import linear_cross_entropy

Loss = Callable[[Case], Tensor]


@dataclass(frozen=True)
class Provider:
    name: str
    loss: Loss
    devices: tuple[str, ...] = ("cuda",)
    package: str | None = None
    """The module that must be there, and `install` gets it."""
    install: str = ""
    capability: tuple[int, int] | None = None
    """Exactly this CUDA capability, where the kernel is written for one."""

    def missing(self, device: str) -> str | None:
        """Why it cannot run here, or None."""
        if device not in self.devices:
            return f"does not run on {device}"
        if self.package and find_spec(self.package) is None:
            return f"not installed ({self.install})"
        if self.capability and torch.cuda.get_device_capability() != self.capability:
            return f"written for compute capability {self.capability[0]}.{self.capability[1]}"
        return None

    def run(self, case: Case) -> tuple[Tensor, Tensor, Tensor]:
        """Loss and gradients of hidden states and weight."""
        loss = self.loss(case)
        d_hidden, d_weight = torch.autograd.grad(loss, (case.hidden_TD, case.weight_VD))
        return loss.detach(), d_hidden, d_weight


def ecot(workspace_bytes: int | None = None) -> Loss:
    def loss(case: Case) -> Tensor:
        scale = 1 / case.rows.num_rows
        return linear_cross_entropy(
            case.hidden_TD, case.weight_VD, case.rows, scale=scale, workspace_bytes=workspace_bytes
        ).loss

    return loss


def full_logits(case: Case) -> Tensor:
    """What transformers does: logits of every token, cast to float32, cross-entropy with ignored labels."""
    logits = functional.linear(case.hidden_TD, case.weight_VD).float()
    return functional.cross_entropy(logits, case.labels_T, ignore_index=-100)


def compacted_logits(case: Case) -> Tensor:
    logits = functional.linear(case.hidden_TD[case.rows.row_index], case.weight_VD).float()
    return functional.cross_entropy(logits, case.rows.labels)


def torch_chunked(case: Case) -> Tensor:
    if not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        raise NotImplementedError("needs torch >= 2.13")
    options = torch.nn.LinearCrossEntropyOptions()
    return functional.linear_cross_entropy(
        case.hidden_TD, case.weight_VD, case.labels_T, ignore_index=-100, options=options
    )


def trl(case: Case) -> Tensor:
    """TRL's default SFT loss: as `_fused_lm_head` calls it, compacted by mask on CUDA and padded elsewhere."""
    from trl.kernels import ChunkedLogProbFunction

    mask = case.labels_T != -100
    compact = case.hidden_TD.is_cuda
    hidden = case.hidden_TD[mask] if compact else case.hidden_TD
    labels = case.labels_T[mask] if compact else case.labels_T.clamp(min=0)
    log_probabilities = ChunkedLogProbFunction.apply(hidden, case.weight_VD, None, labels, 1.0, 32_768, None, 1.0, ())[
        0
    ]
    if not compact:
        log_probabilities = log_probabilities * mask
    return -log_probabilities.sum() / case.rows.num_rows


def liger(accum_dtype: torch.dtype | None = None, rows_per_chunk: int | None = None, compact: bool = False) -> Loss:
    def loss(case: Case) -> Tensor:
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        hidden = case.hidden_TD.index_select(0, case.rows.row_index) if compact else case.hidden_TD
        labels = case.rows.labels if compact else case.labels_T
        constant = 1
        if rows_per_chunk is not None:  # rows per chunk = rows / ceil(V / (constant * D)), to a power of two
            vocab, width = case.weight_VD.shape
            constant = max(1, math.ceil(vocab * rows_per_chunk / (width * hidden.shape[0])))
        return liger_fused_linear_cross_entropy(
            hidden, case.weight_VD, labels, accum_dtype=accum_dtype, chunk_mem_const=constant
        )

    return loss


def liger_scaled(case: Case) -> Tensor:
    """Liger's kernel for Hopper that gives the loss per token."""
    from liger_kernel.ops.fused_linear_scaled_cross_entropy import LigerFusedLinearScaledCrossEntropyFunction

    nll = LigerFusedLinearScaledCrossEntropyFunction.apply(case.hidden_TD, case.weight_VD, case.labels_T)
    return nll.sum() / case.rows.num_rows


def cce(exact: bool) -> Loss:
    def loss(case: Case) -> Tensor:
        from cut_cross_entropy import linear_cross_entropy as cut_cross_entropy

        if not exact:
            return cut_cross_entropy(case.hidden_TD, case.weight_VD, case.labels_T)
        try:
            return cut_cross_entropy(case.hidden_TD, case.weight_VD, case.labels_T, impl="cce_exact")
        except NotImplementedError:  # release 25.1.1 has no presets: no filter, but sums in 16 bits
            return cut_cross_entropy(case.hidden_TD, case.weight_VD, case.labels_T, filter_eps=None)

    return loss


def quack(compact: bool) -> Loss:
    """QuACK wants a multiple of 8 rows: padded with ignored ones."""

    def loss(case: Case) -> Tensor:
        from quack.linear_cross_entropy import chunked_linear_cross_entropy

        hidden = case.hidden_TD.index_select(0, case.rows.row_index) if compact else case.hidden_TD
        labels = case.rows.labels if compact else case.labels_T
        padding = -hidden.shape[0] % 8
        hidden, labels = functional.pad(hidden, (0, 0, 0, padding)), functional.pad(labels, (0, padding), value=-100)
        return chunked_linear_cross_entropy(hidden, case.weight_VD, labels)

    return loss


LIGER = {"package": "liger_kernel", "install": "pip install liger-kernel"}
CCE = {"package": "cut_cross_entropy", "install": "pip install git+https://github.com/apple/ml-cross-entropy"}
QUACK = {"package": "quack", "install": "pip install quack-kernels"}

PROVIDERS = [
    Provider("ecot", ecot(), ("cuda", "cpu")),
    Provider("ecot, 256 MiB workspace", ecot(1 << 28)),
    Provider("ecot, 1 GiB workspace", ecot(1 << 30), ("cpu",)),
    Provider("full logits", full_logits, ("cuda", "cpu")),
    Provider("full logits, compacted", compacted_logits, ("cuda", "cpu")),
    Provider("torch, chunked", torch_chunked, ("cuda", "cpu")),
    Provider("trl", trl, ("cuda", "cpu"), "trl", "pip install 'trl>=1.16'"),
    Provider("liger", liger(), **LIGER),
    Provider("liger, fp32 dW", liger(accum_dtype=torch.float32), **LIGER),
    Provider("liger, 4096 rows per chunk", liger(rows_per_chunk=4096), **LIGER),
    Provider("liger, compacted by ecot", liger(compact=True), **LIGER),
    Provider("liger, scaled (Hopper)", liger_scaled, capability=(9, 0), **LIGER),
    Provider("cce", cce(exact=False), **CCE),
    Provider("cce, exact", cce(exact=True), **CCE),
    Provider("quack", quack(compact=False), **QUACK),
    Provider("quack, compacted by ecot", quack(compact=True), **QUACK),
]


def bare_products(case: Case) -> Callable[[], None]:
    """The floor: the three matrix products over the scored rows in one piece, nothing else.

    Above 2^31 bytes of logits the rows go in pieces of 4096, as no implementation could hold them.
    """
    hidden, weight = case.hidden_TD.detach(), case.weight_VD.detach()
    rows = hidden.index_select(0, case.rows.row_index)
    row_bytes = weight.shape[0] * rows.element_size()
    pieces = rows.split(len(rows) if len(rows) * row_bytes < 1 << 31 else 4096)
    logits = rows.new_empty(len(pieces[0]), weight.shape[0])
    d_rows, d_weight = torch.empty_like(rows), torch.empty_like(weight)

    def run() -> None:
        for start, piece in zip(range(0, len(rows), len(pieces[0])), pieces, strict=True):
            part = torch.mm(piece, weight.t(), out=logits[: len(piece)])
            torch.mm(part, weight, out=d_rows[start : start + len(piece)])
            torch.mm(part.t(), piece, out=d_weight)

    return run
