"""The softmax step in pure torch: the CPU's implementation, and what the Triton kernel is tested against.

Shape legend: C rows of one chunk, V vocabulary, n rows, G groups.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
    """Score each row of logits and, with `with_grad`, overwrite it with its gradient (otherwise with anything).

    Writes `nll_C` (negative log-likelihood of the label), `lse_C` (logsumexp) and `hits_C` (1.0 where the label is the
    argmax). The gradient is that of `factors_C * (nll + z_loss * lse**2)` with respect to the logits as given, that is
    through the soft-cap `softcap * tanh(logits / softcap)` (0 switches it off).

    The label's column is kept out of the sum, so that 1 - p survives as p -> 1: there the row's gradient is made of
    terms that a difference of rounded numbers would lose.
    """
    tile = logits_CV if logits_CV.dtype in (torch.float32, torch.float64) else logits_CV.float()
    slope = None
    if softcap:
        tile.div_(softcap).tanh_()
        if with_grad:
            slope = 1 - tile * tile
        tile.mul_(softcap)
    columns = labels_C[:, None]
    target = tile.gather(1, columns)
    tile.scatter_(1, columns, float("-inf"))
    rest_peak = tile.amax(1, keepdim=True)
    hits_C.copy_(_label_is_argmax(tile, columns, target, rest_peak))
    peak = torch.maximum(rest_peak, target)
    rest = tile.sub_(peak).exp_().sum(1, keepdim=True)
    label_mass = (target - peak).exp()
    total = label_mass + rest
    # total is 1 + the mass of all but the largest logit.
    log_total = torch.where(target >= rest_peak, rest, total - 1).log1p()
    nll_C.copy_((peak - target + log_total)[:, 0])
    lse = peak + log_total
    lse_C.copy_(lse[:, 0])
    if not with_grad:
        return
    factor = factors_C[:, None].to(tile.dtype)
    pull = 2 * z_loss * lse
    tile.mul_(factor * (1 + pull) / total)
    tile.scatter_(1, columns, factor * (label_mass * pull - rest) / total)
    if slope is not None:
        tile.mul_(slope)
    if tile is not logits_CV:
        logits_CV.copy_(tile)


def _label_is_argmax(rest_CV: Tensor, columns: Tensor, target: Tensor, rest_peak: Tensor) -> Tensor:
    """[C] bool: the label's logit is above all others, and above or equal to those after it."""
    hits = target > rest_peak
    tied = target == rest_peak
    if rest_CV.device.type != "cpu":  # asking for ties would wait for the device
        return (hits | (tied & (columns < rest_CV.argmax(1, keepdim=True))))[:, 0]
    for row in tied[:, 0].nonzero()[:, 0].tolist():  # few; an argmax of every row takes four times as long
        hits[row] = not (rest_CV[row, : int(columns[row])] == target[row]).any()
    return hits[:, 0]


def group_sums(nll_n: Tensor, weights_n: Tensor, hits_n: Tensor, groups_n: Tensor, num_groups: int) -> Tensor:
    """Per group: sum of weight * nll, of nll, of weight, the count and the hits. [G, 5] float32, deterministic."""
    nll, weights = nll_n.double(), weights_n.double()
    values_n5 = torch.stack([weights * nll, nll, weights, torch.ones_like(nll), hits_n.double()], dim=1)
    if values_n5.device.type == "cpu":  # in order, one row after the other
        sums = values_n5.new_zeros(num_groups, 5).index_add_(0, groups_n, values_n5)
    else:  # index_add_ would use atomics there
        member_Gn = torch.arange(num_groups, device=groups_n.device)[:, None] == groups_n
        sums = member_Gn.double() @ values_n5
    return sums.float()
