"""Nested token budgets: one seeded order of documents, stratified by domain; each budget is a prefix of the next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ecot.data_mix.config import BudgetConfig, Count
from ecot.data_mix.groups import DOMAINS, KINDS
from ecot.data_mix.mixture import Corpus, MixedOrder
from ecot.errors import BudgetError
from ecot.outcomes import Domain
from ecot.segments import Kind

NameT = TypeVar("NameT", bound=str)


@dataclass(frozen=True)
class Budget:
    """What one budget holds; everything counts from the beginning of the order."""

    name: str
    requested: int
    """Tokens asked for, of the kinds that `count` says."""
    planned: int
    """Tokens of the largest prefix of whole documents not over it."""
    count: Count
    documents: int
    """The prefix is the first so many documents of the order."""
    content_hash: str
    """SHA-256 over the digests of the documents in order: equal hashes mean equal tokens, masks and outcomes."""
    tokens: dict[str, dict[str, int]]
    """Domain to kind to tokens, all kinds counted whatever `count` says."""
    sources: dict[str, int]
    """Source to tokens of every kind."""
    repeated: int
    """Tokens that came before: what expanded documents share with an earlier one, and upsampled documents."""
    deviation: float
    """The largest difference between a domain's or source's share of the tokens and the mixture's."""

    @property
    def shortfall(self) -> int:
        """Tokens by which it stays below the request: less than one document."""
        return self.requested - self.planned


def counted_tokens(kind_counts: np.ndarray, count: Count) -> np.ndarray:
    """[n] tokens of each document that a budget counts, from its [n, 4] tokens per kind."""
    if count is Count.ALL:
        return kind_counts.sum(axis=1)
    kinds = [Kind.THINKING] if count is Count.THINKING else [Kind.THINKING, Kind.ANSWER]
    return kind_counts[:, kinds].sum(axis=1)


def repeated_tokens(mixed: MixedOrder, lengths: np.ndarray, repeated: np.ndarray) -> np.ndarray:
    """[len(mixed.documents)] tokens of each place in the order that came before: the whole document in a later epoch,
    otherwise what it shares with an earlier one of its trajectory."""
    return np.where(mixed.repeats, lengths[mixed.documents], repeated[mixed.documents])


def make_budgets(
    configs: Sequence[BudgetConfig],
    count: Count,
    mixed: MixedOrder,
    corpus: Corpus,
    kind_counts: np.ndarray,
    repeated: np.ndarray,
    digests: Sequence[bytes],
) -> list[Budget]:
    """The budgets, in ascending order.

    Args:
        configs: names and sizes.
        count: which tokens they count.
        mixed: the order of documents.
        corpus: what it was made from.
        kind_counts: [n, 4] tokens per kind of each document of the store.
        repeated: [n] tokens of each that an earlier document of its trajectory begins with.
        digests: content digest of each.

    Raises:
        BudgetError: the documents hold fewer tokens than the largest budget, or a budget holds no document.
    """
    order = mixed.documents
    totals = np.cumsum(counted_tokens(kind_counts, count)[order])
    came_before = repeated_tokens(mixed, corpus.lengths, repeated)
    _check_enough(configs[-1], count, int(totals[-1]) if len(totals) else 0, mixed)
    budgets = []
    digest, done = hashlib.sha256(), 0
    for config in configs:
        documents = int(np.searchsorted(totals, config.tokens, side="right"))
        if documents == done:
            raise BudgetError(
                f"budget {config.name!r} of {config.tokens:,} tokens adds no whole document: the next one has "
                f"{int(totals[done]) - (int(totals[done - 1]) if done else 0):,} tokens; raise it"
            )
        for index in order[done:documents]:
            digest.update(digests[index])
        done = documents
        members = order[:documents]
        tokens = tokens_by_domain_and_kind(kind_counts[members], corpus.domains[members])
        sources = _tokens_by_source(corpus, members)
        by_domain = {Domain(name): sum(row.values()) for name, row in tokens.items()}
        budgets.append(
            Budget(
                name=config.name,
                requested=config.tokens,
                planned=int(totals[documents - 1]),
                count=count,
                documents=documents,
                content_hash=digest.hexdigest(),
                tokens=tokens,
                sources=sources,
                repeated=int(came_before[:documents].sum()),
                deviation=max(_deviation(by_domain, mixed.shares), _deviation(sources, mixed.source_shares)),
            )
        )
    return budgets


def _tokens_by_source(corpus: Corpus, members: np.ndarray) -> dict[str, int]:
    sums = np.bincount(
        corpus.sources[members], weights=corpus.lengths[members], minlength=len(corpus.source_names)
    ).astype(np.int64)
    return {name: int(tokens) for name, tokens in zip(corpus.source_names, sums, strict=True) if tokens}


def _deviation(tokens: Mapping[NameT, int], shares: Mapping[NameT, float]) -> float:
    """The largest difference between a share of the tokens and the one that is wanted."""
    total = sum(tokens.values())
    return max(abs(tokens.get(name, 0) / total - share) for name, share in shares.items())


def _check_enough(largest: BudgetConfig, count: Count, available: int, mixed: MixedOrder) -> None:
    if available >= largest.tokens:
        return
    ends = f" until {mixed.exhausted} runs out of documents" if mixed.exhausted else ""
    remedy = ", its share in data.mixture, data.mixture.max_epochs" if mixed.exhausted else ""
    raise BudgetError(
        f"budget {largest.name!r} asks for {largest.tokens:,} tokens (count: {count}) and the documents hold "
        f"{available:,}{ends}: {largest.tokens - available:,} are missing; raise synthesis.train_trajectories, add "
        f"data.sources{remedy}, or lower data.budgets"
    )


def tokens_by_domain_and_kind(kind_counts: np.ndarray, domains: np.ndarray) -> dict[str, dict[str, int]]:
    """Domain to kind to tokens, for domains that occur."""
    table: dict[str, dict[str, int]] = {}
    for index, domain in enumerate(DOMAINS):
        members = domains == index
        if members.any():
            sums = kind_counts[members].sum(axis=0)
            table[str(domain)] = {kind.name.lower(): int(sums[kind]) for kind in KINDS}
    return table


def flatten_counts(tokens: dict[str, dict[str, int]]) -> dict[str, Any]:
    """`by_kind` and `by_domain` sums of a domain-to-kind table, and `all` and `supervised`."""
    by_kind = {kind.name.lower(): sum(row[kind.name.lower()] for row in tokens.values()) for kind in KINDS}
    by_domain = {domain: sum(row.values()) for domain, row in tokens.items()}
    return {
        "all": sum(by_domain.values()),
        "supervised": by_kind["thinking"] + by_kind["answer"],
        "by_kind": by_kind,
        "by_domain": by_domain,
    }
