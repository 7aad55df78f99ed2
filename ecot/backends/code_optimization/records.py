"""Read what the harness wrote: one record per call, then an end, a fault, or nothing."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from ecot.backends.code_optimization.inputs import Case

_RECORD = struct.Struct("<16s6Q")


class Kind(IntEnum):
    """What a record tells; as in `harness.c`."""

    RESULT = 1
    END = 2
    FAULT = 3
    DENIED = 4


@dataclass(frozen=True)
class CallResult:
    """What one call left."""

    integer: int
    """Register rax, unsigned."""
    floating: bytes
    """The low 8 bytes of xmm0."""
    abi: int
    """One bit per broken rule of the calling convention; see `judging.ABI_RULES`."""
    canaries: int
    """Two bits per buffer: bytes in front of it and behind it were changed."""
    contents: tuple[bytes, ...]
    """All buffers after the call."""


@dataclass(frozen=True)
class Fault:
    """A signal during a call."""

    test: int
    signal: int
    place: int
    """A buffer's number, or one of `harness.c`'s names for other places."""
    distance: int
    """From the buffer's slot, bytes; meaningless elsewhere."""
    is_write: bool


@dataclass(frozen=True)
class Transcript:
    """All that the harness wrote."""

    results: tuple[CallResult, ...]
    ended: bool
    """The harness came to its end."""
    cycles: int
    """Clock cycles of all calls together, when it ran for timing."""
    fault: Fault | None
    denied: int | None
    """Number of a system call that was refused."""
    foreign: bool
    """There is output that the harness did not write."""


def read_transcript(raw: bytes, cases: Sequence[Case], nonce: bytes) -> Transcript:
    """Read the output of one run of the harness on `cases`."""
    results: list[CallResult] = []
    ended, cycles, fault, denied = False, 0, None, None
    at = 0
    while at + _RECORD.size <= len(raw) and not (ended or fault or denied is not None):
        mark, kind, test, integer, floating, abi, canaries = _RECORD.unpack_from(raw, at)
        expected_test = len(results)
        if mark != nonce or test != expected_test or kind not in set(Kind):
            break
        if kind == Kind.RESULT:
            sizes = [len(block.data) for block in cases[test].blocks] if test < len(cases) else []
            end = at + _RECORD.size + sum(size + -size % 8 for size in sizes)
            if test >= len(cases) or end > len(raw):
                break
            contents = _contents(raw, at + _RECORD.size, sizes)
            results.append(CallResult(integer, struct.pack("<Q", floating), abi, canaries, contents))
            at = end
            continue
        at += _RECORD.size
        if kind == Kind.END:
            ended, cycles = True, integer
        elif kind == Kind.DENIED:
            denied = integer
        else:
            distance = floating - (1 << 64) if floating >> 63 else floating
            fault = Fault(test, integer, abi & 255, distance, bool(abi >> 8))
    ended = ended and len(results) == len(cases)
    return Transcript(tuple(results), ended, cycles, fault, denied, foreign=at < len(raw))


def _contents(raw: bytes, at: int, sizes: Sequence[int]) -> tuple[bytes, ...]:
    contents = []
    for size in sizes:
        contents.append(raw[at : at + size])
        at += size + -size % 8
    return tuple(contents)
