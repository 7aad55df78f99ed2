"""Expansion and compaction in pure torch: the CPU's implementation, and what the Triton kernels equal to the bit.

Shape legend: T tokens, n scored rows, K kinds, A attempts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecot.kernels.packing.spans import NO_LABEL, ExpandedPack, ScoringRule, SpanTable


def expand(ids_T: Tensor, table: SpanTable, rule: ScoringRule) -> ExpandedPack:
    """The pack token by token."""
    positions = torch.arange(len(ids_T), device=ids_T.device)
    document = torch.searchsorted(table.cu_seqlens[1:].contiguous(), positions.int(), right=True)
    run = torch.searchsorted(table.run_ends, positions.int(), right=True)
    kinds, attempts = table.kinds[run].long(), table.attempts[run].long()
    following = (positions + 1).clamp(max=len(ids_T) - 1)
    kind, attempt = kinds[following], attempts[following].clamp(max=rule.weights_KA.shape[1] - 1)
    predicts = (positions + 1 < table.cu_seqlens[document + 1]) & (kind >= 0)
    kind = kind.clamp(min=0)
    weights = rule.weights_KA[kind, attempt] if table.weights is None else table.weights[run[following]]
    weights = torch.where(predicts, weights, 0.0)
    monitored = predicts & rule.monitored_KA[kind, attempt]
    group = kind + rule.weights_KA.shape[0] * (table.domains[document].long() + rule.num_domains * attempt)
    return ExpandedPack(
        position_ids=positions - table.cu_seqlens[document],
        kinds=kinds.to(torch.int8),
        labels=torch.where(predicts, ids_T.long()[following], NO_LABEL),
        weights=weights,
        groups=torch.where(predicts, group, -1),
        scored=torch.where(weights != 0, 1, torch.where(monitored, 2, 0)).to(torch.int8),
    )


def compact(pack: ExpandedPack, num_trained: int, num_monitored: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Row index [n] int64, labels, weights and groups of the trained rows, ascending, then of the monitored ones.

    Raises:
        ValueError: there are not so many.
    """
    trained, monitored = ((pack.scored == code).nonzero()[:, 0] for code in (1, 2))
    if (len(trained), len(monitored)) != (num_trained, num_monitored):
        raise ValueError(
            f"{num_trained} trained and {num_monitored} monitored rows were announced, and the pack has "
            f"{len(trained)} and {len(monitored)}; count them with ScoringRule.count on the same table"
        )
    rows = torch.cat([trained, monitored])
    return rows, pack.labels[rows], pack.weights[rows], pack.groups[rows]
