"""Read what the runner wrote about the candidate's calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ecot.backends.general.values import decode

_KINDS = ("result", "raised", "foreign")


@dataclass(frozen=True)
class Raised:
    """An exception that left the candidate."""

    name: str
    message: str
    line: int
    """Of the candidate's source; 0 if it came from elsewhere."""


@dataclass(frozen=True)
class Foreign:
    """A result that is no plain data."""

    text: str


@dataclass(frozen=True)
class Returned:
    """A result."""

    value: Any
    encoded: Any
    """As it crossed the border."""


Outcome = Returned | Raised | Foreign


@dataclass(frozen=True)
class Transcript:
    """All that the runner wrote."""

    outcomes: tuple[Outcome, ...]
    ended: bool
    syntax: Raised | None
    """The source does not compile."""
    load: Raised | None
    """Loading it raised."""
    missing: bool
    """It does not define the entry."""
    foreign: bool
    """There is output that the runner did not write."""


def read_transcript(raw: bytes, nonce: str) -> Transcript:
    """Read the output of one run; the candidate may have put anything there."""
    outcomes: list[Outcome] = []
    single: dict[str, Raised] = {}
    ended = missing = foreign = False
    for line in raw.decode("utf-8", "replace").splitlines():
        record = _read_line(line, nonce)
        if record is None or ended or single or missing:
            foreign = True
            break
        kind, content = record
        if kind in _KINDS:
            outcomes.append(content)
        elif kind in ("syntax", "load"):
            single[kind] = content
        elif kind == "missing":
            missing = True
        else:
            ended = content == len(outcomes)
    return Transcript(tuple(outcomes), ended, single.get("syntax"), single.get("load"), missing, foreign)


def _read_line(line: str, nonce: str) -> tuple[str, Any] | None:
    """Kind and content; None for what the runner does not write."""
    try:
        mark, kind, content = json.loads(line)
        if mark != nonce:
            return None
        if kind == "result":
            return kind, Returned(decode(content), content)
        if kind in ("raised", "syntax", "load"):
            name, message, number = content
            return kind, Raised(str(name), str(message), int(number))
        if kind == "foreign":
            return kind, Foreign(str(content))
        return (kind, content) if kind in ("missing", "end") else None
    except (ValueError, TypeError, RecursionError):
        return None


def read_results(results: Sequence[Sequence[Any]]) -> tuple[Outcome, ...]:
    """What the reference did, from the oracle's answer."""
    outcomes: list[Outcome] = []
    for kind, content in results:
        outcomes.append(Returned(decode(content), content) if kind == "result" else Raised(*content))
    return tuple(outcomes)
