"""The order in which documents are taken: seeded, with the mixture's domain shares in every prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ecot.data_mix.config import MixtureConfig
from ecot.data_mix.groups import DOMAINS
from ecot.errors import BudgetError
from ecot.outcomes import Domain


@dataclass(frozen=True)
class MixedOrder:
    """A sequence of documents."""

    documents: np.ndarray
    """[n] int64 document indices; with upsampling a document comes once per epoch of its domain."""
    repeats: np.ndarray
    """[n] bool: the document came before."""
    shares: Mapping[Domain, float]
    """The share of tokens that each domain has in every long prefix."""
    exhausted: Domain | None
    """The domain that ends the sequence because its documents are used up, where others still have some."""


def document_order(
    lengths: np.ndarray, domains: np.ndarray, seed: int, mixture: MixtureConfig | None = None
) -> MixedOrder:
    """Order documents so that every prefix has nearly the mixture's shares.

    Documents are shuffled within their domain, then merged by (tokens of the domain so far) / (share of the domain).
    Without a mixture the shares are those of the tokens at hand, and every document comes once.

    Args:
        lengths: [n] tokens of each document.
        domains: [n] domain index of each document.
        seed: decides the shuffles.
        mixture: the `mixture` section.

    Raises:
        BudgetError: there is no document, a cap or the epochs leave none of a domain, or the mixture wants a domain
            that has none, or forgets one that has.
    """
    if len(lengths) == 0:
        raise BudgetError(
            "no document is left to plan; loosen data.filters (the store's summary counts what each of them takes), "
            "raise data.packing.pack_tokens if all are too long, or add data.sources"
        )
    mixture = mixture or MixtureConfig()
    generator = np.random.default_rng([seed, 0xD0C5])
    shuffled = generator.permutation(len(lengths))
    members = {index: shuffled[domains[shuffled] == index] for index in np.unique(domains).tolist()}
    members = {index: _capped(documents, lengths, mixture, index) for index, documents in members.items()}
    shares = _shares({index: int(lengths[documents].sum()) for index, documents in members.items()}, mixture)
    parts, ends = [], {}
    for index, share in shares.items():
        stream, repeats = _stream(members[index], lengths, mixture.max_epochs, [seed, index])
        if len(stream) == 0:
            raise BudgetError(
                f"data.mixture.max_epochs: {mixture.max_epochs:g} of the {int(lengths[members[index]].sum()):,} tokens "
                f"of {DOMAINS[index]} hold no whole document; raise it, or add data.sources"
            )
        tokens = np.cumsum(lengths[stream])
        parts.append((stream, repeats, (tokens - lengths[stream] / 2) / share))
        ends[index] = tokens[-1] / share
    documents, repeats, positions = (np.concatenate(column) for column in zip(*parts, strict=True))
    end, first = min((end, index) for index, end in ends.items())
    by_position = np.argsort(positions, kind="stable")
    by_position = by_position[positions[by_position] <= end]
    early = max(ends.values()) > end * (1 + 1e-9)
    return MixedOrder(
        documents[by_position],
        repeats[by_position],
        {DOMAINS[index]: share for index, share in shares.items()},
        DOMAINS[first] if early else None,
    )


def _capped(documents: np.ndarray, lengths: np.ndarray, mixture: MixtureConfig, index: int) -> np.ndarray:
    """The first documents of a domain that stay within its cap."""
    domain = DOMAINS[index]
    cap = mixture.max_tokens.get(domain)
    if cap is None:
        return documents
    within = documents[np.cumsum(lengths[documents]) <= cap]
    if len(within) == 0 and mixture.weights.get(domain) != 0:
        raise BudgetError(
            f"data.mixture.max_tokens: {cap:,} for {domain} is below its first document of "
            f"{int(lengths[documents[0]]):,} tokens; raise it, or set the domain's weight to 0 to leave it out"
        )
    return within


def _shares(tokens: dict[int, int], mixture: MixtureConfig) -> dict[int, float]:
    """Domain index to its share; domains of share 0 are left out."""
    if mixture.weights:
        present = {DOMAINS[index] for index, count in tokens.items() if count}
        missing = sorted(domain for domain, weight in mixture.weights.items() if weight and domain not in present)
        forgotten = sorted(present - set(mixture.weights))
        if missing:
            raise BudgetError(
                f"data.mixture.weights wants {', '.join(missing)}, and no document is of it; add data.sources or set 0"
            )
        if forgotten:
            raise BudgetError(f"data.mixture.weights says nothing of {', '.join(forgotten)}; set 0 to leave it out")
        raw = {index: mixture.weights[DOMAINS[index]] for index in tokens}
    else:
        largest = max(tokens.values(), default=1)
        raw = {index: (count / largest) ** (1 / mixture.temperature) for index, count in tokens.items()}
    total = sum(raw.values())
    return {index: weight / total for index, weight in raw.items() if weight and tokens[index]}


def _stream(
    documents: np.ndarray, lengths: np.ndarray, epochs: float, seed: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """A domain's documents over some epochs, each in an order of its own, and which of them came before."""
    generator = np.random.default_rng(seed)
    whole = [documents] + [generator.permutation(documents) for _ in range(int(np.ceil(epochs)) - 1)]
    stream = np.concatenate(whole)
    repeats = np.arange(len(stream)) >= len(documents)
    # A document is taken when at least half of it lies within the epochs allowed.
    limit = epochs * lengths[documents].sum()
    inside = np.cumsum(lengths[stream]) - lengths[stream] / 2 <= limit
    return stream[inside], repeats[inside]
