"""Reading a tool's diagnostics: which line, which names, which output at which time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ecot.outcomes import Execution, Label

_LINE = re.compile(r"^candidate\.sv:(\d+):\s*(.*)$")
_BENCH = re.compile(r"^testbench(?:\.sv)?:(?:\d+:)?\s*(.*)$")
_QUOTED = re.compile(r"[`'\"]+([A-Za-z_$][\w$]*)(?:\[[^'\"]*\])?['\"]+")
_BARE = re.compile(r"([A-Za-z_$][\w$]*)(?:\[\S*\])? (?:is not a valid l-value|Unable to assign)|of scalar: (\w+)")
_SYSTEM = re.compile(r"(\$[A-Za-z_]\w*)")
_FIRST = re.compile(
    r"first mismatch at (\d+) ns: output '([\w$]+)' expected (\S+), got (\S+?)(?: \(inputs: (.*)\))?$", re.MULTILINE
)
_OUTPUT = re.compile(r"^output '([\w$]+)': (?:(\d+) mismatches, first at (\d+) ns|no mismatch)$", re.MULTILINE)
_TOTAL = re.compile(r"^simulation finished: (\d+) of (\d+) samples mismatch", re.MULTILINE)


@dataclass(frozen=True)
class Complaint:
    """One message of a compiler or simulator."""

    line: int | None
    """Line of the candidate, from 1; None for a message about the testbench's side."""
    text: str
    """The message without its place."""
    names: frozenset[str]
    """Identifiers that it names."""


@dataclass(frozen=True)
class Mismatch:
    """An output that differs from what it should be."""

    signal: str
    failures: int
    time: int
    """Nanoseconds of simulated time of its first mismatch."""
    expected: str = ""
    """A literal; empty for outputs that failed later than the first one."""
    got: str = ""
    inputs: str = ""
    """Inputs at that time as the testbench describes them."""


@dataclass(frozen=True)
class Reading:
    """What a diagnostic says, in parts."""

    label: Label
    subcode: str
    text: str
    complaints: tuple[Complaint, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    """Failing outputs, the one of the first mismatch at the front."""
    healthy: tuple[str, ...] = ()
    """Outputs without a mismatch."""
    failed_samples: int = 0
    samples: int = 0


def read_diagnostics(execution: Execution) -> Reading:
    """Take a diagnostic apart; what is in no known form is left out."""
    text = execution.diagnostics
    if execution.label is Label.FUNCTIONAL_MISMATCH:
        return _read_simulation(execution)
    complaints = tuple(c for c in map(_complaint, text.splitlines()) if c is not None)
    return Reading(execution.label, execution.subcode, text, complaints=complaints)


def _complaint(line: str) -> Complaint | None:
    match, number = _LINE.match(line), None
    if match is not None:
        number, message = int(match[1]), match[2]
    elif (bench := _BENCH.match(line)) is not None:
        message = bench[1]
    else:
        return None
    if message.startswith(":") or message.startswith("warning:"):
        # A continuation ("q is declared here as wire") says where, not what.
        return None
    bare = [name for pair in _BARE.findall(message) for name in pair if name]
    names = {*_QUOTED.findall(message), *bare, *_SYSTEM.findall(message)}
    return Complaint(number, message.removeprefix("error: ").strip(), frozenset(names))


def _read_simulation(execution: Execution) -> Reading:
    text = execution.diagnostics
    first, total = _FIRST.search(text), _TOTAL.search(text)
    failing: list[Mismatch] = []
    healthy: list[str] = []
    for signal, failures, time in _OUTPUT.findall(text):
        if not failures:
            healthy.append(signal)
        elif first is not None and first[2] == signal:
            detail = Mismatch(signal, int(failures), int(time), first[3], first[4], first[5] or "")
            failing.insert(0, detail)
        else:
            failing.append(Mismatch(signal, int(failures), int(time)))
    return Reading(
        execution.label,
        execution.subcode,
        text,
        mismatches=tuple(failing),
        healthy=tuple(healthy),
        failed_samples=int(total[1]) if total else 0,
        samples=int(total[2]) if total else 0,
    )
