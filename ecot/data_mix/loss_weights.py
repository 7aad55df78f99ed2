"""Weights of tokens, resolved from the runs when a batch is made: nothing is rendered or tokenised again for them.

A token's weight is that of its kind times the factors of all rules that match it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ecot.data_mix.loss_rules import LossRule
from ecot.data_mix.store import Document, DocumentStore
from ecot.errors import ConfigError
from ecot.segments import SUPERVISED_KINDS, Kind

SCORED_KINDS = (Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION)


class LossWeights:
    """Resolves weights for documents.

    Args:
        kinds: weight per kind; kinds not named weigh 0.
        rules: refinements.

    Raises:
        ConfigError: a weight is negative or not finite.
    """

    def __init__(self, kinds: Mapping[Kind, float], rules: Sequence[LossRule] = ()) -> None:
        for kind, weight in kinds.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"the loss weight of {kind.name.lower()} is {weight}; it must be finite and >= 0")
        self.by_kind = np.array([kinds.get(kind, 0.0) for kind in SCORED_KINDS], np.float32)
        self.rules = tuple(rules)

    def of_runs(self, document: Document) -> np.ndarray:
        """[runs] float32 weight of the tokens of each run."""
        weights = self.by_kind[document.run_table.kinds]
        for rule in self.rules:
            matched = rule_matches(rule, document)
            weights = np.where(matched, weights * np.float32(rule.factor), weights)
        return weights


def rule_matches(rule: LossRule, document: Document) -> np.ndarray:
    """[runs] bool: which runs of a document a rule touches."""
    kinds, attempts = document.run_table.kinds, document.run_table.attempts
    if not rule.matches_document(document):
        return np.zeros(len(kinds), bool)
    supervised = np.isin(kinds, SUPERVISED_KINDS)
    last = int(attempts[supervised].max()) if supervised.any() else int(attempts.max(initial=0))
    names = {Kind[name.name] for name in rule.kinds}
    by_attempt = [rule.matches_attempt(document.attempt_labels, attempt, last) for attempt in range(attempts.max() + 1)]
    of_kind = np.isin(kinds, list(names)) if names else np.ones(len(kinds), bool)
    return of_kind & np.array(by_attempt)[attempts]


def count_touched(rules: Sequence[LossRule], store: DocumentStore, documents: Iterable[int]) -> list[int]:
    """How many tokens each rule matches, prompts aside, for the log."""
    counts = [0] * len(rules)
    for index in documents:
        document = store[index]
        trained = document.run_table.kinds != Kind.PROMPT
        for number, rule in enumerate(rules):
            counts[number] += int(document.run_table.lengths[rule_matches(rule, document) & trained].sum())
    return counts
