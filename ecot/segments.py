"""Segment kinds: what each token of a document is, and to which attempt it belongs.

A document is a list of token ids and, beside it, runs of (length, kind, attempt). Weights are chosen at train time from
these runs; the tokens are never rendered again for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """The kind of a token, stored as int8."""

    PADDING = -1
    PROMPT = 0
    """System and user text, and the headers of every turn."""
    THINKING = 1
    """From `<think>` (unless the generation prompt already holds it) through the separator after `</think>`."""
    ANSWER = 2
    """The rest of an assistant turn, its end-of-turn token included."""
    OBSERVATION = 3
    """What a tool said."""


SUPERVISED_KINDS = (Kind.THINKING, Kind.ANSWER)
"""*Supervised tokens* always means these, whatever the weights (for world-model pairs: OBSERVATION)."""


class Run(NamedTuple):
    """A stretch of consecutive tokens of one kind and attempt."""

    length: int
    kind: Kind
    attempt: int
    """0 before the first assistant turn; attempt k's thinking, answer and the observation that answers it are k."""


def trained_kinds(runs: Sequence[Run]) -> tuple[Kind, ...]:
    """The kinds whose tokens a document's supervised tokens are: observation where the model stands in for a tool."""
    if any(run.kind in SUPERVISED_KINDS for run in runs):
        return SUPERVISED_KINDS
    return (Kind.OBSERVATION,)


def merge_runs(runs: Iterable[Run]) -> list[Run]:
    """Join neighbouring runs of the same kind and attempt and drop empty ones."""
    merged: list[Run] = []
    for run in runs:
        if run.length == 0:
            continue
        if merged and merged[-1].kind == run.kind and merged[-1].attempt == run.attempt:
            merged[-1] = merged[-1]._replace(length=merged[-1].length + run.length)
        else:
            merged.append(run)
    return merged


def count_tokens(runs: Sequence[Run], kinds: Iterable[Kind] | None = None) -> int:
    """Number of tokens in `runs`, of the given kinds or of all."""
    wanted = set(Kind) if kinds is None else set(kinds)
    return sum(run.length for run in runs if run.kind in wanted)
