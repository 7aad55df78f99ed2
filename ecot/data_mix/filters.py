"""Filters over tokenised rows. What they leave out is counted by the selection, in rows and tokens, with samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ecot.data_mix.filter_config import FilterConfig
from ecot.data_mix.repeats import Repeats
from ecot.data_mix.store import ShardFiles
from ecot.segments import SUPERVISED_KINDS, Kind


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
    number: int
    """Position among all candidates."""

    @property
    def last(self) -> int:
        """Its last document in the shard."""
        return self.first + self.line["documents"] - 1

    def fresh_ids(self, overlap: int) -> Iterator[np.ndarray]:
        """[n] int32 tokens of each of its documents, what the document before begins with left out but for `overlap`.

        With `past_thinking: expand` and `over_long: split` documents repeat each other's beginnings.
        """
        for document in range(self.first, self.last + 1):
            repeated = int(self.shard.repeated[document]) if document > self.first else 0
            yield self.shard.ids_of(document)[max(0, repeated - overlap) :]

    def supervised_ids(self) -> np.ndarray:
        """[n] int32 supervised tokens of all its documents."""
        documents = range(self.first, self.last + 1)
        runs = [self.shard.runs_of(document) for document in documents]
        masks = [np.repeat(_trained(run.kinds), run.lengths) for run in runs]
        return np.concatenate([self.shard.ids_of(d)[mask] for d, mask in zip(documents, masks, strict=True)])


def _trained(kinds: np.ndarray) -> np.ndarray:
    """[runs] bool: those of supervised tokens; as `segments.trained_kinds` says."""
    supervised = np.isin(kinds, SUPERVISED_KINDS)
    return supervised if supervised.any() else kinds == Kind.OBSERVATION


class RowFilter(Protocol):
    """Looks at rows in order; only rows that all filters let through are remembered."""

    def reason_against(self, row: Candidate) -> Reason | None:
        """Why the row is left out; None when it may stay."""
        ...

    def remember(self, row: Candidate) -> None:
        """The row is kept."""
        ...


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


class LabelFilter:
    """Keeps rows by the outcomes of any of their attempts."""

    def __init__(self, config: FilterConfig) -> None:
        self.wanted = {str(label) for label in config.with_labels}
        self.unwanted = {str(label) for label in config.without_labels}

    def reason_against(self, row: Candidate) -> Reason | None:
        """See `RowFilter`."""
        labels = [label for label in row.line["labels"] if label]
        if found := self.unwanted.intersection(labels):
            return Reason("label", f"an attempt ends with {', '.join(sorted(found))}")
        if self.wanted and self.wanted.isdisjoint(labels):
            return Reason("label", f"attempts end with {', '.join(labels) or 'nothing'}")
        return None

    def remember(self, row: Candidate) -> None:
        """See `RowFilter`."""


class ExactDuplicates:
    """Leaves out rows whose normalised text and code equal an earlier row's.

    Args:
        repeats: the keys that occur more than once; rows with others need not be remembered.
    """

    def __init__(self, repeats: Repeats) -> None:
        self.repeats = repeats
        self.places: dict[bytes, str] = {}

    def reason_against(self, row: Candidate) -> Reason | None:
        """See `RowFilter`."""
        earlier = self.places.get(row.line["key"])
        return Reason("exact_duplicate", f"says the same as {earlier}") if earlier else None

    def remember(self, row: Candidate) -> None:
        """See `RowFilter`."""
        if self.repeats.has_key(row.line["key"]):
            self.places[row.line["key"]] = row.line["place"]


class LengthBounds:
    """Keeps rows within bounds of tokens."""

    def __init__(self, config: FilterConfig) -> None:
        self.config = config

    def reason_against(self, row: Candidate) -> Reason | None:
        """See `RowFilter`."""
        tokens = sum(len(ids) for ids in row.fresh_ids(0))
        if tokens < self.config.min_tokens:
            return Reason("too_short", f"{tokens} tokens")
        if self.config.max_tokens is not None and tokens > self.config.max_tokens:
            return Reason("too_long", f"{tokens} tokens")
        return None

    def remember(self, row: Candidate) -> None:
        """See `RowFilter`."""
