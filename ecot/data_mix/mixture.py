"""The order in which documents are taken: seeded, with the mixture's shares of domains and sources in every prefix.

Documents of one source and domain are a *cell*. Those of one trajectory (`past_thinking: expand`) are taken together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ecot.data_mix.config import MixtureConfig, SourceShare
from ecot.data_mix.groups import DOMAINS
from ecot.data_mix.store import DocumentStore
from ecot.errors import BudgetError
from ecot.outcomes import Domain

KeyT = TypeVar("KeyT")
Cell = tuple[int, int]
"""Index of a source's name, and of a domain."""


@dataclass(frozen=True)
class Corpus:
    """What the order depends on, per document."""

    lengths: np.ndarray
    """[n] int64 tokens."""
    domains: np.ndarray
    """[n] int64 index into `groups.DOMAINS`."""
    sources: np.ndarray
    """[n] int64 index into `source_names`."""
    source_names: tuple[str, ...]
    """All different."""
    trajectories: np.ndarray
    """[n] int64, rising: documents with the same number are of one trajectory."""

    @classmethod
    def of_store(cls, store: DocumentStore) -> Corpus:
        """The documents of a store; sources of one name count as one."""
        names = tuple(dict.fromkeys(store.source_names))
        renumbered = np.array([names.index(name) for name in store.source_names], np.int64)
        return cls(store.lengths, store.domains, renumbered[store.sources], names, store.trajectories)

    def cell_name(self, cell: Cell) -> str:
        """How messages call a cell."""
        domain = str(DOMAINS[cell[1]])
        return f"{domain} of {self.source_names[cell[0]]}" if len(self.source_names) > 1 else domain


@dataclass(frozen=True)
class MixedOrder:
    """A sequence of documents."""

    documents: np.ndarray
    """[n] int64 document indices; with upsampling a document comes once per epoch of its cell."""
    repeats: np.ndarray
    """[n] bool: the document came before."""
    shares: Mapping[Domain, float]
    """The share of tokens that each domain has in every long prefix."""
    source_shares: Mapping[str, float]
    """The same for sources."""
    exhausted: str | None
    """What ends the sequence because its documents are used up, where others still have some."""


class _Trajectories:
    """The documents of a corpus, a trajectory at a time."""

    def __init__(self, corpus: Corpus) -> None:
        _, self.first = np.unique(corpus.trajectories, return_index=True)
        self.counts = np.diff(np.append(self.first, len(corpus.lengths)))
        self.tokens = np.add.reduceat(corpus.lengths, self.first)
        self.cells = list(zip(corpus.sources[self.first].tolist(), corpus.domains[self.first].tolist(), strict=True))

    def documents(self, chosen: np.ndarray) -> np.ndarray:
        """The documents of some trajectories, in their order."""
        counts = self.counts[chosen]
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(self.first[chosen], counts) + inside


def document_order(corpus: Corpus, seed: int, mixture: MixtureConfig | None = None) -> MixedOrder:
    """Order documents so that every prefix has nearly the mixture's shares.

    Trajectories are shuffled within their cell, then merged by (tokens of the cell so far) / (share of the cell).
    Without a mixture the shares are those of the tokens at hand, and every document comes once.

    Args:
        corpus: the documents.
        seed: decides the shuffles, a new one for each epoch.
        mixture: the `mixture` section.

    Raises:
        BudgetError: there is no document, a cap or the epochs leave none of a cell, or the mixture wants a domain or
            source that has none, or forgets one that has.
    """
    if len(corpus.lengths) == 0:
        raise BudgetError(
            "no document is left to plan; loosen data.filters (the store's summary counts what each of them takes), "
            "raise data.packing.pack_tokens if all are too long, or add data.sources"
        )
    mixture = mixture or MixtureConfig()
    trajectories = _Trajectories(corpus)
    shuffled = np.random.default_rng([seed, 0xD0C5]).permutation(len(trajectories.cells))
    members = _capped(_members(trajectories, shuffled), shuffled, trajectories, corpus, mixture)
    shares = _shares({cell: int(trajectories.tokens[own].sum()) for cell, own in members.items()}, corpus, mixture)
    parts, ends = [], {}
    for cell, share in shares.items():
        epochs = _source(mixture, corpus, cell).max_epochs or mixture.max_epochs
        stream, repeats = _stream(members[cell], trajectories.tokens, epochs, [seed, *cell])
        if len(stream) == 0:
            raise BudgetError(
                f"data.mixture.max_epochs: {epochs:g} of the {int(trajectories.tokens[members[cell]].sum()):,} tokens "
                f"of {corpus.cell_name(cell)} hold no whole document; raise it, or add data.sources"
            )
        tokens = np.cumsum(trajectories.tokens[stream])
        parts.append((stream, repeats, (tokens - trajectories.tokens[stream] / 2) / share))
        ends[cell] = tokens[-1] / share
    chosen, repeats, positions = (np.concatenate(column) for column in zip(*parts, strict=True))
    end, first = min((end, cell) for cell, end in ends.items())
    by_position = np.argsort(positions, kind="stable")
    by_position = by_position[positions[by_position] <= end]
    chosen, repeats = chosen[by_position], repeats[by_position]
    early = max(ends.values()) > end * (1 + 1e-9)
    return MixedOrder(
        trajectories.documents(chosen),
        np.repeat(repeats, trajectories.counts[chosen]),
        _sums(shares, lambda cell: DOMAINS[cell[1]]),
        _sums(shares, lambda cell: corpus.source_names[cell[0]]),
        corpus.cell_name(first) if early else None,
    )


def _members(trajectories: _Trajectories, shuffled: np.ndarray) -> dict[Cell, np.ndarray]:
    """The trajectories of each cell, in shuffled order."""
    cells, number = np.unique(np.array(trajectories.cells), axis=0, return_inverse=True)
    number = number.reshape(-1)[shuffled]
    return {(int(s), int(d)): shuffled[number == index] for index, (s, d) in enumerate(cells)}


def _source(mixture: MixtureConfig, corpus: Corpus, cell: Cell) -> SourceShare:
    return mixture.sources.get(corpus.source_names[cell[0]], SourceShare())


def _capped(
    members: dict[Cell, np.ndarray],
    shuffled: np.ndarray,
    trajectories: _Trajectories,
    corpus: Corpus,
    mixture: MixtureConfig,
) -> dict[Cell, np.ndarray]:
    """The first trajectories of each cell that stay within the caps of its domain and of its source."""
    caps: list[tuple[str, int, list[Cell], bool]] = []
    for domain, cap in mixture.max_tokens.items():
        cells = [cell for cell in members if DOMAINS[cell[1]] is domain]
        caps.append((f"max_tokens: {cap:,} for {domain}", cap, cells, mixture.weights.get(domain) == 0))
    for name, source in mixture.sources.items():
        cells = [cell for cell in members if corpus.source_names[cell[0]] == name]
        if source.max_tokens is not None:
            place = f"sources.{name}.max_tokens: {source.max_tokens:,}"
            caps.append((place, source.max_tokens, cells, source.weight == 0))
    for place, cap, cells, left_out in caps:
        held = shuffled[np.isin(shuffled, np.concatenate([np.empty(0, np.int64), *(members[cell] for cell in cells)]))]
        within = held[np.cumsum(trajectories.tokens[held]) <= cap]
        if len(held) and len(within) == 0 and not left_out:
            raise BudgetError(
                f"data.mixture.{place} is below its first document of {int(trajectories.tokens[held[0]]):,} "
                "tokens; raise it, or set the weight to 0 to leave it out"
            )
        members = members | {cell: members[cell][np.isin(members[cell], within)] for cell in cells}
    return members


def _shares(tokens: dict[Cell, int], corpus: Corpus, mixture: MixtureConfig) -> dict[Cell, float]:
    """The share of each cell; those of share 0 are left out.

    With weights of sources, these come first, and the domains share what their source has; otherwise the sources of a
    domain share what it has by their tokens.
    """
    domain_weights = {str(domain): weight for domain, weight in mixture.weights.items()}
    present = {str(DOMAINS[domain]) for (_, domain), count in tokens.items() if count}
    _check_names("weights", domain_weights, present, "no document is of it")
    source_weights = {name: s.weight for name, s in mixture.sources.items() if s.weight is not None}
    present = {corpus.source_names[source] for (source, _), count in tokens.items() if count}
    _check_names("sources", source_weights, present, "it has no document")
    if source_weights:
        outer = {corpus.source_names.index(name): weight for name, weight in source_weights.items() if weight}
        raw: dict[Cell, float] = {}
        for source, weight in outer.items():
            of_source = {cell: count for cell, count in tokens.items() if cell[0] == source and count}
            inner = _by_domain({cell[1]: count for cell, count in of_source.items()}, mixture)
            if not sum(inner.values()):
                raise BudgetError(
                    f"data.mixture.weights leaves out all domains of source {corpus.source_names[source]}, which has a "
                    "weight of its own; set that to 0, or raise the weight of one of its domains"
                )
            raw |= {cell: weight * inner[cell[1]] for cell in of_source}
    else:
        sums = _sums(tokens, lambda cell: cell[1])
        of_domain = _by_domain({domain: int(count) for domain, count in sums.items()}, mixture)
        raw = {(s, d): of_domain[d] * count / sums[d] for (s, d), count in tokens.items() if count}
    total = sum(raw.values())
    return {cell: weight / total for cell, weight in sorted(raw.items()) if weight}


def _by_domain(tokens: dict[int, int], mixture: MixtureConfig) -> dict[int, float]:
    """Shares of domains that add up to 1, or all 0."""
    if mixture.weights:
        raw = {domain: mixture.weights[DOMAINS[domain]] if count else 0.0 for domain, count in tokens.items()}
    else:
        largest = max(tokens.values())
        raw = {domain: (count / largest) ** (1 / mixture.temperature) for domain, count in tokens.items()}
    total = sum(raw.values())
    return {domain: weight / total if total else 0.0 for domain, weight in raw.items()}


def _check_names(section: str, weights: Mapping[str, float], present: set[str], lack: str) -> None:
    """Every name with a weight must have documents, and, where there are weights, the other way round."""
    missing = sorted(name for name, weight in weights.items() if weight and name not in present)
    forgotten = sorted(present - set(weights)) if weights else []
    if missing:
        raise BudgetError(f"data.mixture.{section} wants {', '.join(missing)}, and {lack}; add data.sources or set 0")
    if forgotten:
        raise BudgetError(f"data.mixture.{section} says nothing of {', '.join(forgotten)}; set 0 to leave it out")


def _sums(values: Mapping[Cell, float], key: Callable[[Cell], KeyT]) -> dict[KeyT, float]:
    """Sums of the values of cells by a key of the cell."""
    sums: dict[KeyT, float] = {}
    for cell, value in values.items():
        sums[key(cell)] = sums.get(key(cell), 0) + value
    return sums


def _stream(members: np.ndarray, tokens: np.ndarray, epochs: float, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """A cell's trajectories over some epochs, each in an order of its own, and which of them came before."""
    generator = np.random.default_rng(seed)
    whole = [members] + [generator.permutation(members) for _ in range(int(np.ceil(epochs)) - 1)]
    stream = np.concatenate(whole)
    repeats = np.arange(len(stream)) >= len(members)
    # One is taken when at least half of it lies within the epochs allowed.
    limit = epochs * tokens[members].sum()
    inside = np.cumsum(tokens[stream]) - tokens[stream] / 2 <= limit
    return stream[inside], repeats[inside]
