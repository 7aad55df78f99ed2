"""The sizes of the run itself: from its plan where it is made, otherwise from the configuration."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from ecot.data_mix.config import DataConfig
from ecot.data_mix.plan import PackPlan
from ecot.data_mix.store import DocumentStore

ASSUMED_DENSITY = 0.99
"""Of packs before they are made; best-fit-decreasing gives more as a rule (measured on 60,000 log-normal lengths)."""
ASSUMED_DOCUMENT_TOKENS = 8192
"""Mean document length over tokens, where no plan says it: reasoning trajectories of several turns."""


@dataclass(frozen=True)
class RunFacts:
    """Steps, packs and tokens of the run."""

    planned: bool
    """From the plan; otherwise estimated."""
    steps: int
    packs_per_step: int
    pack_tokens: int
    tokens: int
    """All kinds, padding not counted."""
    document_tokens: float
    """Mean length of a document over tokens: sum of squares / sum."""
    longest_document: int

    @property
    def capacity(self) -> int:
        """Tokens of all packs, padding included: what the schedule counts."""
        return self.steps * self.packs_per_step * self.pack_tokens


def planned_facts(plan: PackPlan, store: DocumentStore) -> RunFacts:
    """The facts of a plan that is made."""
    documents = np.array(
        [index for step in range(plan.num_steps) for pack in plan.packs(step) for index in pack.documents]
    )
    lengths = store.lengths[documents].astype(np.float64)
    return RunFacts(
        planned=True,
        steps=plan.num_steps,
        packs_per_step=plan.packs_per_step,
        pack_tokens=plan.pack_tokens,
        tokens=int(lengths.sum()),
        document_tokens=float((lengths**2).sum() / lengths.sum()),
        longest_document=int(lengths.max()),
    )


def assumed_facts(data: DataConfig) -> RunFacts:
    """The facts that the configuration allows to expect. Each budget ends at a step boundary."""
    packing = data.packing
    begins = [0, *(budget.tokens for budget in data.budgets)]
    filled = packing.global_batch_tokens * ASSUMED_DENSITY
    steps = sum(math.ceil((end - begin) / filled) for begin, end in itertools.pairwise(begins))
    return RunFacts(
        planned=False,
        steps=steps,
        packs_per_step=packing.packs_per_step,
        pack_tokens=packing.pack_tokens,
        tokens=data.budgets[-1].tokens,
        document_tokens=min(ASSUMED_DOCUMENT_TOKENS, packing.pack_tokens),
        longest_document=packing.pack_tokens,
    )
