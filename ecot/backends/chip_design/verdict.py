"""Read what a testbench printed."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKER = "ecot-verdict"
_OUTPUT = re.compile(r"output (\S+) (\d+) (\d+) (\d+) (\S+) (\S+) ?(.*)")
_TOTAL = re.compile(r"total (\d+) (\d+)")
_SPOOF = re.compile(rf"{_MARKER}|^Mismatches: \d+ in \d+ samples", re.MULTILINE)


@dataclass(frozen=True)
class OutputRecord:
    """How one output of the candidate did."""

    signal: str
    width: int
    failures: int
    first_time: int
    """In units of the testbench's `timescale`; meaningless without failures."""
    want: str
    """A SystemVerilog literal, as is `got`; both are empty if the testbench does not tell."""
    got: str
    inputs: str
    """The inputs at the first mismatch, as the testbench describes them."""


@dataclass(frozen=True)
class Verdict:
    """What the testbench counted."""

    samples: int
    mismatches: int
    """Samples in which at least one output was wrong."""
    outputs: tuple[OutputRecord, ...]

    @property
    def first(self) -> OutputRecord | None:
        """The earliest mismatch."""
        failed = [record for record in self.outputs if record.failures]
        return min(failed, key=lambda record: record.first_time, default=None)


def read_verdict(text: str, nonce: str) -> Verdict | None:
    """The verdict that carries the nonce; None if the simulation ended before the testbench gave it."""
    stamp = f"{_MARKER} {nonce} "
    outputs = []
    for line in text.splitlines():
        # The candidate may have left an unfinished line of its own before the stamp.
        _, found, rest = line.partition(stamp)
        if not found:
            continue
        if match := _OUTPUT.fullmatch(rest):
            name, width, failures, time = match[1], int(match[2]), int(match[3]), int(match[4])
            want, got = literal(match[5], width), literal(match[6], width)
            outputs.append(OutputRecord(name, width, failures, time, want, got, match[7].strip()))
        elif match := _TOTAL.fullmatch(rest):
            return Verdict(int(match[1]), int(match[2]), tuple(outputs))
    return None


def has_spoofed_verdict(text: str, nonce: str) -> bool:
    """Whether the candidate printed something that looks like a verdict, ours or a public benchmark's."""
    return _SPOOF.search(text.replace(f"{_MARKER} {nonce} ", "")) is not None


def literal(digits: str, width: int) -> str:
    """Hexadecimal digits as `%h` prints them, wider than the signal, as a literal of the signal's width.

    A dash stands for a value that the testbench does not tell.
    Where a digit is partly unknown the simulator prints `X` or `Z`; a wholly unknown one is `x` or `z`.
    """
    if digits == "-":
        return ""
    shown = digits[-((width + 3) // 4) :]
    # The top digit of a width that is no multiple of 4 was padded with zeros, which makes an unknown bit partial.
    if width % 4 and shown[0] in "XZ" and (width % 4 == 1 or set(shown[1:].lower()) == {shown[0].lower()}):
        shown = shown[0].lower() + shown[1:]
    return f"{width}'h{shown}" if width > 1 else f"1'b{shown.lower()}"
