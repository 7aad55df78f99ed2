"""Loss and top-1 accuracy on held-out documents, counted exactly as in training.

The same collator, attention, head and statistics; only the weights do not move.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ecot.data_mix.batch import Collator
from ecot.data_mix.groups import NUM_GROUPS, decode_group
from ecot.data_mix.loss_weights import LossWeights
from ecot.data_mix.packing import best_fit_decreasing
from ecot.data_mix.plan import Pack
from ecot.data_mix.store import DocumentStore
from ecot.eval.results import GroupLoss, HeldoutLoss
from ecot.train.config import LossConfig
from ecot.train.head import install_scoring_head
from ecot.train.statistics import COUNT, HITS, NLL, name_means

WEIGHTED_NLL, WEIGHT = 0, 2
"""Further columns of the statistics `[G, 5]`."""


def score_heldout(
    model: PreTrainedModel,
    store: DocumentStore,
    loss: LossConfig,
    pack_tokens: int,
    pad_id: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HeldoutLoss:
    """Score every thinking, answer and observation token of a store.

    Args:
        model: with attention that keeps packed documents apart. Its head becomes a scoring head, so generate first.
        store: the held-out documents.
        loss: the run's weights and rules, for the overall `loss`; tokens of weight 0 are monitored.
        pack_tokens: tokens scored at once; no document is longer.
        pad_id: fills packs up.
        progress: told packs done and packs in all.
    """
    install_scoring_head(model, loss.workspace_bytes)
    weights = LossWeights(loss.by_kind, loss.rules)
    collator = Collator(store, weights, monitor=set(loss.by_kind), pad_id=pad_id)
    packs = pack_documents(store, pack_tokens)
    sums_G5 = torch.zeros(NUM_GROUPS, 5, dtype=torch.float64, device=model.device)
    with torch.no_grad():
        for done, pack in enumerate(packs, start=1):
            inputs = {
                name: value.to(model.device) if isinstance(value, Tensor) else value
                for name, value in collator(pack).to_inputs().items()
            }
            _, stats_G5 = model(**inputs, scale=1.0)
            sums_G5 += stats_G5
            progress(done, len(packs))
    sums_G5 = sums_G5.cpu()
    return HeldoutLoss(len(store), int(store.lengths.sum()), _means(sums_G5), _groups(sums_G5))


def pack_documents(store: DocumentStore, pack_tokens: int) -> list[Pack]:
    """All documents of a store in as few packs as best-fit-decreasing finds."""
    packed = best_fit_decreasing(store.lengths, pack_tokens)
    return [
        Pack(step=0, slot=slot, documents=tuple(documents), tokens=int(store.lengths[documents].sum()))
        for slot, documents in enumerate(packed)
    ]


def _means(sums_G5: Tensor) -> dict[str, float]:
    total = sums_G5.sum(dim=0)
    weighted = {"loss": float(total[WEIGHTED_NLL] / total[WEIGHT])} if total[WEIGHT] > 0 else {}
    return {**weighted, **name_means(sums_G5)}


def _groups(sums_G5: Tensor) -> tuple[GroupLoss, ...]:
    rows = []
    for index in range(NUM_GROUPS):
        row, group = sums_G5[index], decode_group(index)
        count = int(row[COUNT])
        if count:
            kind, domain = group.kind.name.lower(), str(group.domain)
            rows.append(
                GroupLoss(kind, domain, group.attempt, count, float(row[NLL] / count), float(row[HITS] / count))
            )
    return tuple(rows)
