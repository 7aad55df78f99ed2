"""The account of a store: what was kept, cut, left out and refused, per domain, in rows and tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ecot.outcomes import Domain


class Fate(StrEnum):
    """What became of a row."""

    KEPT = "kept"
    """It is in the store, whole or cut."""
    CUT = "cut"
    """It is kept, and some of its turns are not: counts are those of the lost part."""
    LEFT_OUT = "left_out"
    """A filter or its length kept it out."""
    REFUSED = "refused"
    """It is malformed, or cannot be rendered without harm. Its tokens are those of its bare texts, where readable."""


class Entry(NamedTuple):
    """One line of the account."""

    fate: Fate
    reason: str
    """Empty for kept rows."""
    domain: Domain | None
    """None when the row is too broken to tell."""


@dataclass
class Tally:
    """Sums of one line."""

    rows: int = 0
    documents: int = 0
    """Differs from `rows` when a trajectory is expanded into one document per turn."""
    tokens: int = 0
    supervised: int = 0

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.rows += other.rows
        self.documents += other.documents
        self.tokens += other.tokens
        self.supervised += other.supervised


@dataclass
class Ledger:
    """All lines. `rows read = kept + left out + refused`, and their tokens with those cut are all that were read."""

    lines: dict[Entry, Tally] = field(default_factory=dict)

    def record(self, fate: Fate, domain: Domain | None, tally: Tally, reason: str = "") -> None:
        """Add to the line of a fate, reason and domain."""
        self.lines.setdefault(Entry(fate, reason, domain), Tally()).add(tally)

    def total(self, fates: Iterable[Fate]) -> Tally:
        """The sum over the lines of some fates."""
        wanted, total = set(fates), Tally()
        for entry, tally in self.lines.items():
            if entry.fate in wanted:
                total.add(tally)
        return total

    @property
    def rows_read(self) -> int:
        """Rows that were read."""
        return self.total((Fate.KEPT, Fate.LEFT_OUT, Fate.REFUSED)).rows

    def to_json(self) -> list[dict[str, Any]]:
        """A list of objects: fate, reason, domain, rows, documents, tokens, supervised; in a fixed order."""
        return [
            {"fate": entry.fate, "reason": entry.reason, "domain": entry.domain, **asdict(tally)}
            for entry, tally in sorted(self.lines.items(), key=lambda item: tuple(map(str, item[0])))
        ]

    @classmethod
    def from_json(cls, lines: Iterable[dict[str, Any]]) -> Ledger:
        """The inverse of `to_json`."""
        ledger = cls()
        for line in lines:
            values = dict(line)
            fate, reason, name = Fate(values.pop("fate")), values.pop("reason"), values.pop("domain")
            ledger.record(fate, Domain(name) if name else None, Tally(**values), reason)
        return ledger
