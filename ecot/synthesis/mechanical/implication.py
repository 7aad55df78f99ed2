"""Does a diagnostic point at an edit? By a line or an identifier that it names, or by the failing signal's cone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from ecot.outcomes import Label
from ecot.synthesis.faults import Edit, FaultStack, Place
from ecot.synthesis.mechanical.diagnosis import Complaint, Mismatch, Reading
from ecot.synthesis.verilog.cone import fan_out
from ecot.synthesis.verilog.design import read_design

STRUCTURAL = frozenset({"begin", "end", "case", "endcase", "else"})
"""Words whose absence a parser notices only where the enclosing construct breaks."""
_BREAKS = ("end", "else", "always", "assign", "case", "default", "function", "module", "wire", "reg", "logic")


class Via(StrEnum):
    """What ties a diagnostic to an edit; stronger ties first."""

    NAME = "name"
    LINE = "line"
    BLOCK = "block"
    """The complaint stands where a block that the edit left open, or closed too early, collides with what follows."""
    CONE = "cone"


@dataclass(frozen=True)
class Implication:
    """A diagnostic that points at an edit."""

    edit: Edit
    via: Via
    distance: int
    """Lines, or steps in the cone; smaller is closer."""
    complaint: Complaint | None = None
    mismatch: Mismatch | None = None

    @property
    def rank(self) -> tuple[int, int, int]:
        """Sorts the strongest implication first."""
        return (list(Via).index(self.via), self.distance, self.edit.start)


def implicated(reading: Reading, stack: FaultStack, applied: Collection[Edit]) -> list[Implication]:
    """How the diagnostic of `stack.text(applied)` points at edits, the strongest ties first."""
    found: list[Implication] = []
    for edit in applied:
        if reading.label is Label.FUNCTIONAL_MISMATCH:
            found += _by_cone(reading, edit, stack, applied)
        else:
            found += _by_text(reading, edit, stack, applied)
    return sorted(found, key=lambda item: item.rank)


def _by_text(reading: Reading, edit: Edit, stack: FaultStack, applied: Collection[Edit]) -> list[Implication]:
    if not reading.complaints:
        return []
    place = stack.place(edit, applied)
    if reading.subcode == "syntax":
        # What follows a syntax error is often its echo, so only the first complaint is believed.
        return _by_syntax(reading.complaints[0], edit, place, stack.text(applied))
    for complaint in reading.complaints:
        if complaint.names & edit.identifiers:
            distance = abs(complaint.line - place.first_line) if complaint.line is not None else 0
            return [Implication(edit, Via.NAME, distance, complaint=complaint)]
    first = reading.complaints[0]
    here = first.line is not None and place.first_line <= first.line <= place.last_line
    return [Implication(edit, Via.LINE, 0, complaint=first)] if here else []


def _by_syntax(complaint: Complaint, edit: Edit, place: Place, text: str) -> list[Implication]:
    """A parser stops at the edit, at the next token after it, or where a block that it left open collides."""
    line = complaint.line
    if line is None:
        return []
    if place.first_line <= line <= next_code_line(text, place.last_line):
        return [Implication(edit, Via.LINE, line - place.first_line, complaint=complaint)]
    lines = text.split("\n")
    at = lines[line - 1].strip() if line <= len(lines) else "end"
    words = {edit.facts.get("keyword", ""), edit.facts.get("opener", "")}
    if words & STRUCTURAL and line > place.first_line and at.startswith(_BREAKS):
        return [Implication(edit, Via.BLOCK, line - place.first_line, complaint=complaint)]
    return []


def next_code_line(text: str, number: int) -> int:
    """The first line after `number` that holds more than blanks and a comment; one past the end if there is none."""
    lines = text.split("\n")
    for index in range(number, len(lines)):
        stripped = lines[index].strip()
        if stripped and not stripped.startswith("//"):
            return index + 1
    return len(lines) + 1


def _by_cone(reading: Reading, edit: Edit, stack: FaultStack, applied: Collection[Edit]) -> list[Implication]:
    """The failing outputs in the fan-out of the edited statement; that of the first mismatch comes first in rank.

    Both the faulty and the correct text count: a statement with the wrong target no longer drives the right one.
    """
    reach: dict[str, int] = {}
    for code in (stack.text(applied), stack.code):
        for name, steps in fan_out(read_design(code), edit.targets).items():
            reach[name] = min(steps, reach.get(name, steps))
    return [
        Implication(edit, Via.CONE, reach[mismatch.signal] + _LATER_OUTPUT * (order > 0), mismatch=mismatch)
        for order, mismatch in enumerate(reading.mismatches)
        if mismatch.signal in reach
    ]


_LATER_OUTPUT = 100
"""Added to the distance where an output leads to an edit that the first mismatch does not lead to."""


def improves(before: Reading, after: Reading, implication: Implication) -> bool:
    """Whether undoing an edit mends what pointed at it: a later stage, the complaint gone, fewer or later mismatches.

    A fault whose repair shows no such effect was hidden behind another one, which then has to be mended first.
    Stimuli differ with the code, so small differences of counts mean nothing.
    """
    one, other = _progress(before), _progress(after)
    if one != other:
        return other > one
    if implication.mismatch is not None:
        then = implication.mismatch
        now = next((m for m in after.mismatches if m.signal == then.signal), None)
        return now is None or now.time > 1.2 * then.time or now.failures <= 0.8 * then.failures
    complaint = implication.complaint
    if implication.via is Via.NAME and complaint is not None:
        return all(complaint.text != other.text for other in after.complaints)
    return before.complaints[:1] != after.complaints[:1]


def _progress(reading: Reading) -> int:
    """How far a candidate got."""
    if reading.label is Label.COMPILATION_ERROR:
        return 0 if reading.subcode == "syntax" else 1
    return {Label.PASS: 4, Label.FUNCTIONAL_MISMATCH: 3}.get(reading.label, 2)
