"""Loss on held-out documents while training: the model as it stands, the loss as it is trained, no weight moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ecot.data_mix.batch import Collator
from ecot.data_mix.groups import NUM_GROUPS
from ecot.data_mix.packing import best_fit_decreasing
from ecot.data_mix.plan import Pack
from ecot.train.distributed import sum_over_ranks
from ecot.train.statistics import name_means


class HeldoutScorer:
    """Scores the first documents of the held-out store, its packs dealt over the ranks.

    Args:
        collator: over the held-out store; under sequence parallelism it cuts out this rank's stretch of a pack.
        pack_tokens: tokens scored at once.
        max_documents: how many documents are scored.
        rank: this data rank.
        num_ranks: data ranks, which share the packs; all make as many forwards, since ZeRO-3 gathers weights
            collectively.
        interrupted: asked before each pack, by all ranks alike; scoring is given up once it says yes.
    """

    def __init__(
        self,
        collator: Collator,
        pack_tokens: int,
        max_documents: int,
        rank: int,
        num_ranks: int,
        interrupted: Callable[[], bool],
    ) -> None:
        lengths = collator.store.lengths[:max_documents]
        packs = [
            Pack(step=0, slot=slot, documents=tuple(documents), tokens=int(lengths[documents].sum()))
            for slot, documents in enumerate(best_fit_decreasing(lengths, pack_tokens))
        ]
        packs += [Pack(0, slot, (), 0) for slot in range(len(packs), -(-len(packs) // num_ranks) * num_ranks)]
        self.packs = packs[rank::num_ranks]
        self.collator = collator
        self.interrupted = interrupted

    @torch.no_grad()
    def __call__(self, model: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """Score: a collective call of all ranks.

        Returns:
            `heldout/loss/<kind>` and so on, as `ecot.train.statistics.name_means`; nothing when it was interrupted.
        """
        sums_G5 = torch.zeros(NUM_GROUPS, 5, dtype=torch.float64, device=device)
        model.eval()
        try:
            for pack in self.packs:
                if self.interrupted():
                    return {}
                _, stats_G5 = model(**self._inputs(pack, device), scale=1.0)
                sums_G5 += stats_G5
        finally:
            model.train()
        return {f"heldout/{name}": value for name, value in name_means(sum_over_ranks(sums_G5).cpu()).items()}

    def _inputs(self, pack: Pack, device: torch.device) -> dict[str, Any]:
        inputs = self.collator(pack).to_inputs()
        return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
