"""One fault: a typed edit of a correct text, and the table of operators that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from ecot.synthesis.verilog.cone import affected
from ecot.synthesis.verilog.design import Design


class Family(StrEnum):
    """What kind of complaint an operator usually ends in; the real one decides."""

    SYNTAX = "syntax"
    ELABORATION = "elaboration"
    BEHAVIOUR = "behaviour"


@dataclass(frozen=True)
class Change:
    """A place to edit, as an operator proposes it."""

    start: int
    end: int
    new: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """Words for whoever explains the edit; nothing that cannot be read in the code."""
    identifiers: frozenset[str] = frozenset()
    """Names that the edit adds, removes or replaces."""
    anchors: Mapping[str, int] = field(default_factory=dict)
    """Other places that an explanation names, as byte offsets in the correct text."""


@dataclass(frozen=True)
class Edit:
    """A fault: the span `[start, end)` of the correct text, holding `old`, is replaced with `new`."""

    operator: str
    family: Family
    start: int
    """Byte offset in the correct text."""
    end: int
    old: str
    new: str
    line: int
    """Line of the first character of `old` that is not blank, in the correct text, from 1."""
    identifiers: frozenset[str]
    """Names that the edit adds, removes or replaces."""
    targets: frozenset[str]
    """Names whose value the edit can change directly: where its cone starts."""
    facts: Mapping[str, str]
    anchors: Mapping[str, int]

    def overlaps(self, other: Edit, margin: int = 0) -> bool:
        """Whether two spans touch or lie within `margin` bytes of each other."""
        return self.start <= other.end + margin and other.start <= self.end + margin


Finder = Callable[[Design, Random], Iterator[Change]]


@dataclass(frozen=True)
class Operator:
    """A way of getting it wrong."""

    id: str
    family: Family
    find: Finder
    """Yields every place where the operator applies; small choices (which typo) come from the generator passed in."""
    note: str
    """One line for documentation."""

    def propose(self, design: Design, rng: Random) -> list[Edit]:
        """All edits that this operator can make to a design, in reading order."""
        return [self._edit(design, change) for change in self.find(design, rng)]

    def _edit(self, design: Design, change: Change) -> Edit:
        tree = design.tree
        old = tree.slice(change.start, change.end)
        leading = len(old) - len(old.lstrip()) if old.strip() else 0
        length = len(old.strip().encode("utf-8"))
        start = change.start + leading
        return Edit(
            operator=self.id,
            family=self.family,
            start=change.start,
            end=change.end,
            old=old,
            new=change.new,
            line=tree.line(start),
            identifiers=change.identifiers,
            targets=affected(design, start, start + length),
            facts=change.facts,
            anchors=change.anchors,
        )


OPERATORS: dict[str, Operator] = {}
"""Every operator by its id; filled when `ecot.synthesis.faults` is imported."""


def operator(id: str, family: Family) -> Callable[[Finder], Finder]:
    """Register a finder; its docstring becomes the operator's note."""

    def register(find: Finder) -> Finder:
        assert id not in OPERATORS, f"two operators are called {id!r}"
        OPERATORS[id] = Operator(id, family, find, (find.__doc__ or "").strip())
        return find

    return register
