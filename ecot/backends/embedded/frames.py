"""Read what the test bench reported on USART1, and compare two reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MARK = "\2"
_LINE = re.compile(rf"{MARK}([0-9a-f]{{8}})([ciogfuate])(\w[\w ]*?) (.*)")
_NEAR = re.compile(rf"{MARK}|\becot[-_]?(verdict|bench)|^[0-9a-f]{{8}}[ciogfuate]\w+ ", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """An input, or an output that is compared."""

    name: str
    value: str
    """As the bench prints it: a decimal number, `0x` and eight digits, or bytes in brackets."""
    is_input: bool


@dataclass
class Case:
    """One sample."""

    name: str
    entries: list[Entry] = field(default_factory=list)


@dataclass
class Report:
    """Everything that a run told."""

    cases: list[Case] = field(default_factory=list)
    ending: str = ""
    """`end`, `fault`, `exception`, `assert`, `deadline`, or nothing if the device stopped without a word."""
    detail: str = ""
    """What came with the ending."""
    overrun: str = ""
    """Name and size of the fenced buffer that was written beyond, if one was."""
    overrun_case: int = 0
    forged: bool = False
    """Lines that pose as the bench's, or that follow its last word."""

    @property
    def ended(self) -> bool:
        """Whether the bench came to its end."""
        return self.ending == "end"


@dataclass(frozen=True)
class Mismatch:
    """A case in which the candidate differs from the reference."""

    case: int
    """From 1."""
    case_name: str
    output: str
    expected: str
    got: str
    inputs: str


@dataclass(frozen=True)
class Comparison:
    """A candidate's report against the reference's."""

    samples: int
    mismatches: tuple[Mismatch, ...]
    """The first difference of each case that has one."""
    per_output: Mapping[str, tuple[int, int]]
    """Output to the number of cases in which it differs and the first of them."""
    tampered_case: int = 0
    """The case, from 1, in which the first thing to differ is an input: the bench's own data were overwritten."""


def read_report(raw: bytes, nonce: str) -> Report:
    """Parse the lines that carry the nonce; everything else that was printed counts only if it poses as such a line."""
    report = Report()
    for line in raw.decode("utf-8", "replace").splitlines():
        # The candidate may have left an unfinished line of its own before the mark.
        before, mark, rest = line.rpartition(MARK)
        match = _LINE.fullmatch(mark + rest)
        if match is None or match[1] != nonce:
            report.forged = report.forged or _NEAR.search(line) is not None
            continue
        report.forged = report.forged or bool(report.ending) or _NEAR.search(before) is not None
        _add(report, match[2], match[3], match[4])
    return report


def _add(report: Report, kind: str, name: str, value: str) -> None:
    if kind == "c":
        report.cases.append(Case(name))
    elif kind in "io":
        if not report.cases:
            report.cases.append(Case("start"))
        report.cases[-1].entries.append(Entry(name, value, kind == "i"))
    elif kind == "g":
        if not report.overrun:
            report.overrun, report.overrun_case = f"'{name}' ({value} bytes)", len(report.cases)
    else:
        endings = {"e": "end", "f": "fault", "u": "exception", "a": "assert", "t": "deadline"}
        report.ending, report.detail = endings[kind], value


def compare(expected: Report, got: Report) -> Comparison:
    """Case by case: entries must agree in order, name and value."""
    mismatches: list[Mismatch] = []
    per_output: dict[str, tuple[int, int]] = {}
    for index, case in enumerate(expected.cases):
        theirs = got.cases[index] if index < len(got.cases) else Case("nothing")
        wrong, tampered = _differences(case, theirs)
        if tampered and not mismatches:
            return Comparison(len(expected.cases), (), {}, index + 1)
        if not wrong:
            continue
        inputs = " ".join(f"{entry.name}={entry.value}" for entry in case.entries if entry.is_input)
        first_name, first_expected, first_got = wrong[0]
        mismatches.append(Mismatch(index + 1, case.name, first_name, first_expected, first_got, inputs))
        for name in dict.fromkeys(name for name, _, _ in wrong):
            count, first = per_output.get(name, (0, index + 1))
            per_output[name] = (count + 1, first)
    return Comparison(len(expected.cases), tuple(mismatches), per_output)


def _differences(expected: Case, got: Case) -> tuple[list[tuple[str, str, str]], bool]:
    """Name, expected and got of every differing output, and whether the first difference is in an input."""
    found: list[tuple[str, str, str]] = []
    for index in range(max(len(expected.entries), len(got.entries))):
        want = expected.entries[index] if index < len(expected.entries) else None
        have = got.entries[index] if index < len(got.entries) else None
        if want == have:
            continue
        if want is not None and want.is_input and not found:
            return [], have is not None
        if want is None or have is None or want.name != have.name:
            name = want.name if want is not None else have.name if have is not None else ""
            found.append((name, want.value if want else "nothing", have.value if have else "nothing"))
            break  # what follows is out of step
        if not want.is_input:
            found.append((want.name, want.value, have.value))
    return found, False
