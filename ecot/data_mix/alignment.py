"""Character spans to token runs.

A token that straddles spans takes the first unsupervised one, so that no token with an unsupervised character is ever
trained; between supervised spans its first character decides. Tokens that are parts of one character (byte-level BPE)
share its span.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ecot.data_mix.encoder import TokenisedText
from ecot.segments import SUPERVISED_KINDS, Kind, Run, merge_runs


class Span(NamedTuple):
    """A stretch of characters of one kind and attempt; spans lie end to end from character 0."""

    end: int
    kind: Kind
    attempt: int


class Aligned(NamedTuple):
    """Token runs of one document."""

    runs: tuple[Run, ...]
    straddling: int
    """Tokens with characters of two spans that differ in kind or attempt."""
    crossed_turn: int | None
    """Start of a supervised turn (a character) that lies inside a token; None when each begins with a token."""


def align(text: TokenisedText, spans: Sequence[Span], turn_starts: Sequence[int]) -> Aligned:
    """Give each token the kind and attempt of its characters.

    Only tokens at the ends of spans are looked up: reading the offsets of all costs more than everything else here.

    Args:
        text: the tokens.
        spans: from character 0 to the end of the text.
        turn_starts: characters at which supervised turns begin.
    """
    joined = join_spans(spans)
    edges = text.locate([span.end for span in joined[:-1]])
    starts = text.locate(turn_starts)
    if edges is None or starts is None:  # a normaliser dropped a character, so no token holds it
        return align_offsets(text.offsets(), spans, turn_starts)
    runs: list[Run] = []
    straddling, position, number = 0, 0, 0
    while number < len(joined):
        end = edges[number].token if number < len(edges) else len(text.ids)
        runs.append(Run(max(0, end - position), joined[number].kind, joined[number].attempt))
        position = max(position, end)
        number += 1
        if number <= len(edges) and edges[number - 1].inside:
            covered = [joined[number - 1], joined[number]]
            while number < len(edges) and edges[number] == (end, True):
                number += 1
                covered.append(joined[number])
            kind, attempt = _segment_of(covered)
            runs.append(Run(1, kind, attempt))
            position, straddling = end + 1, straddling + 1
    crossed = [start for start, place in zip(turn_starts, starts, strict=True) if place.inside]
    return Aligned(tuple(merge_runs(runs)), straddling, crossed[0] if crossed else None)


def align_offsets(offsets: np.ndarray, spans: Sequence[Span], turn_starts: Sequence[int]) -> Aligned:
    """The same from the offsets of all tokens.

    Args:
        offsets: [n, 2] begin and end of each token in characters, ascending.
        spans: from character 0 to the end of the text.
        turn_starts: characters at which supervised turns begin.
    """
    joined = join_spans(spans)
    ends = np.array([span.end for span in joined], np.int64)
    # An empty token at the very end of the text lies in no span: it belongs to the last.
    first = np.minimum(np.searchsorted(ends, offsets[:, 0], side="right"), len(joined) - 1)
    last = np.maximum(offsets[:, 1] - 1, offsets[:, 0])
    last = np.minimum(np.searchsorted(ends, last, side="right"), len(joined) - 1)
    runs = []
    for begin, end in zip(first.tolist(), last.tolist(), strict=True):
        kind, attempt = _segment_of(joined[begin : end + 1])
        runs.append(Run(1, kind, attempt))
    return Aligned(tuple(merge_runs(runs)), int((first != last).sum()), _crossed(offsets, turn_starts))


def join_spans(spans: Sequence[Span]) -> list[Span]:
    """Spans without empty ones, neighbours of one kind and attempt joined; at least one."""
    joined: list[Span] = []
    begin = 0
    for span in spans:
        if span.end == begin:
            continue
        if joined and (joined[-1].kind, joined[-1].attempt) == (span.kind, span.attempt):
            joined.pop()
        joined.append(span)
        begin = span.end
    return joined or list(spans[:1])


def _segment_of(covered: Sequence[Span]) -> tuple[Kind, int]:
    """The kind and attempt of a token that has characters of these spans."""
    chosen = next((span for span in covered if span.kind not in SUPERVISED_KINDS), covered[0])
    return chosen.kind, chosen.attempt


def _crossed(offsets: np.ndarray, turn_starts: Sequence[int]) -> int | None:
    for start in turn_starts:
        token = int(np.searchsorted(offsets[:, 0], start, side="left"))
        # The token before the first one that begins at or after `start` must end by then.
        if token > 0 and offsets[token - 1, 1] > start:
            return start
    return None
