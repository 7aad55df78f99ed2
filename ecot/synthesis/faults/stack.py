"""Several faults at once in one text, any of which can be undone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from ecot.synthesis.faults.edit import Edit, Operator
from ecot.synthesis.verilog.design import Design


@dataclass(frozen=True)
class Place:
    """Where a fault stands in a faulty text."""

    start: int
    """Byte offset."""
    end: int
    first_line: int
    last_line: int


@dataclass(frozen=True)
class FaultStack:
    """A correct text and edits of it that do not overlap."""

    code: str
    edits: tuple[Edit, ...]
    """In reading order."""

    def __post_init__(self) -> None:
        assert all(not a.overlaps(b) for a, b in pairwise(self.edits)), "edits overlap"

    def text(self, applied: Collection[Edit]) -> str:
        """The text with these edits applied."""
        data, parts, at = self.code.encode("utf-8"), [], 0
        for edit in self._in_order(applied):
            parts += [data[at : edit.start], edit.new.encode("utf-8")]
            at = edit.end
        return b"".join([*parts, data[at:]]).decode("utf-8")

    def offset(self, offset: int, applied: Collection[Edit]) -> int:
        """Where an offset of the correct text lies in `text(applied)`; inside an edit, where that edit starts."""
        moved = offset
        for edit in self._in_order(applied):
            if edit.start < offset and edit.end <= offset:
                moved += len(edit.new.encode("utf-8")) - (edit.end - edit.start)
            elif edit.start < offset:
                moved -= offset - edit.start
        return moved

    def line(self, offset: int, applied: Collection[Edit]) -> int:
        """The line, from 1, of `text(applied)` that holds an offset of the correct text."""
        return self.text(applied).encode("utf-8").count(b"\n", 0, self.offset(offset, applied)) + 1

    def place(self, edit: Edit, applied: Collection[Edit]) -> Place:
        """Where `edit` stands in `text(applied)`; for an edit not applied, where its correct text stands."""
        data = self.text(applied).encode("utf-8")
        start = self.offset(edit.start, applied)
        length = len(edit.new.encode("utf-8")) if edit in applied else edit.end - edit.start
        first = data.count(b"\n", 0, start) + 1
        last = first + data.count(b"\n", start, max(start, start + length - 1))
        return Place(start, start + length, first, last)

    def _in_order(self, applied: Iterable[Edit]) -> list[Edit]:
        wanted = list(applied)
        return [edit for edit in self.edits if edit in wanted]


def choose_edit(design: Design, operator: Operator, rng: Random, others: Collection[Edit] = ()) -> Edit | None:
    """One edit of an operator, away from the lines of `others`; None if there is no such place."""
    tree = design.tree
    busy = {number for edit in others for number in range(edit.line - 1, tree.line(max(edit.start, edit.end - 1)) + 2)}
    free = []
    for edit in operator.propose(design, rng):
        lines = range(edit.line, tree.line(max(edit.start, edit.end - 1)) + 1)
        if not busy & set(lines) and not any(edit.overlaps(other) for other in others):
            free.append(edit)
    return rng.choice(free) if free else None
