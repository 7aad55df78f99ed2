"""At most so many tokens of a domain: which rows stay is decided by their content, not by where they stand."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ecot.outcomes import Domain


class Kept(NamedTuple):
    """A row that all filters let through."""

    key: bytes
    """Of its normalised text."""
    domain: Domain | None
    tokens: int


def over_cap(rows: Sequence[Kept], caps: Mapping[Domain, int]) -> list[int]:
    """Indices of rows that exceed the caps, ascending.

    Rows of a domain are taken in the order of their keys, as good as random and the same in every run, until the next
    one does not fit; so a smaller cap keeps a subset of what a larger one keeps.
    """
    by_domain: dict[Domain, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.domain is not None and row.domain in caps:
            by_domain[row.domain].append(index)
    removed: list[int] = []
    for domain, indices in by_domain.items():
        order = sorted(indices, key=lambda index: (rows[index].key, index))
        totals = itertools.accumulate(rows[index].tokens for index in order)
        removed += [index for index, total in zip(order, totals, strict=True) if total > caps[domain]]
    return sorted(removed)
