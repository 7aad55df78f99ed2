"""Filters over tokenised rows. What they leave out is counted by the selection, in rows and tokens, with samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ecot.data_mix.config import FilterConfig
from ecot.data_mix.store import ShardFiles

Encode = Callable[[str], Sequence[int]]
"""Text to token ids."""


class Reason(NamedTuple):
    """Why a row is left out."""

    name: str
    """Goes into the account."""
    found: str
    """What was found, for samples."""


@dataclass(frozen=True)
class Candidate:
    """A row that may go into the store."""

    line: Mapping[str, Any]
    """As `shards.ROW_SCHEMA` says."""
    shard: ShardFiles
    first: int
    """Its first document in the shard."""

    def ids(self) -> np.ndarray:
        """[n] int32 tokens of its last document, which with `expand` holds the others' messages."""
        return self.shard.ids_of(self.first + self.line["documents"] - 1)


class RowFilter(Protocol):
    """Looks at rows in order; only rows that all filters let through are remembered."""

    def reason_against(self, row: Candidate) -> Reason | None:
        """Why the row is left out; None when it may stay."""
        ...

    def remember(self, row: Candidate) -> None:
        """The row is kept."""
        ...


def make_filters(config: FilterConfig, encode: Encode) -> list[RowFilter]:
    """The configured filters, cheap ones first."""
    filters: list[RowFilter] = []
    if config.verdicts:
        filters.append(VerdictFilter(config))
    if config.exact_duplicates:
        filters.append(ExactDuplicates())
    return filters


class VerdictFilter:
    """Keeps rows with one of the wanted verdicts."""

    def __init__(self, config: FilterConfig) -> None:
        self.wanted = {str(verdict) for verdict in config.verdicts}

    def reason_against(self, row: Candidate) -> Reason | None:
        """See `RowFilter`."""
        verdict = row.line["verdict"]
        return None if verdict in self.wanted else Reason("verdict", str(verdict))

    def remember(self, row: Candidate) -> None:
        """See `RowFilter`."""


class ExactDuplicates:
    """Leaves out rows whose normalised text and code equal an earlier row's."""

    def __init__(self) -> None:
        self.places: dict[bytes, str] = {}

    def reason_against(self, row: Candidate) -> Reason | None:
        """See `RowFilter`."""
        earlier = self.places.get(row.line["key"])
        return Reason("exact_duplicate", f"says the same as {earlier}") if earlier else None

    def remember(self, row: Candidate) -> None:
        """See `RowFilter`."""
        self.places[row.line["key"]] = row.line["place"]
