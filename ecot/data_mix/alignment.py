"""Character spans to token runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ecot.segments import SUPERVISED_KINDS, Kind, Run


class Aligned(NamedTuple):
    """Token runs of one document."""

    runs: tuple[Run, ...]
    straddling: int
    """Tokens with characters of two spans that differ in kind or attempt."""
    crossed_turn: int | None
    """Start of a supervised turn (a character) that lies inside a token; None when each begins with a token."""


def align(offsets: np.ndarray, spans: Sequence[Any], turn_starts: Sequence[int]) -> Aligned:
    """Give each token the kind and attempt of its characters.

    A token that straddles spans takes the first unsupervised one, so that no token with an unsupervised character is
    ever trained; between supervised spans its first character decides. Tokens that are parts of one character (byte-
    level BPE) share its span.

    Args:
        offsets: [n, 2] begin and end of each token in characters, ascending.
        spans: `Span`s from character 0 to the end of the text.
        turn_starts: characters at which supervised turns begin.
    """
    begins = [0, *(span.end for span in spans)]
    spans = [span for span, begin in zip(spans, begins, strict=False) if span.end > begin] or list(spans[:1])
    ends = np.array([span.end for span in spans], np.int64)
    first = np.searchsorted(ends, offsets[:, 0], side="right")
    last = np.searchsorted(ends, np.maximum(offsets[:, 1] - 1, offsets[:, 0]), side="right")
    # An empty token at the very end of the text lies in no span: it belongs to the last.
    chosen = np.minimum(first, len(spans) - 1)
    last = np.minimum(last, len(spans) - 1)
    straddling = 0
    for token in np.nonzero(chosen != last)[0]:
        covered = list(range(chosen[token], last[token] + 1))
        if len({(spans[index].kind, spans[index].attempt) for index in covered}) > 1:
            straddling += 1
            unsupervised = [index for index in covered if spans[index].kind not in SUPERVISED_KINDS]
            chosen[token] = unsupervised[0] if unsupervised else covered[0]
    kinds = np.array([span.kind for span in spans], np.int64)[chosen]
    attempts = np.array([span.attempt for span in spans], np.int64)[chosen]
    return Aligned(_runs(kinds, attempts), straddling, _crossed(offsets, turn_starts))


def _runs(kinds: np.ndarray, attempts: np.ndarray) -> tuple[Run, ...]:
    if len(kinds) == 0:
        return ()
    changes = np.nonzero((np.diff(kinds) != 0) | (np.diff(attempts) != 0))[0] + 1
    edges = [0, *changes.tolist(), len(kinds)]
    return tuple(
        Run(end - begin, Kind(int(kinds[begin])), int(attempts[begin])) for begin, end in itertools.pairwise(edges)
    )


def _crossed(offsets: np.ndarray, turn_starts: Sequence[int]) -> int | None:
    for start in turn_starts:
        token = int(np.searchsorted(offsets[:, 0], start, side="left"))
        # The token before the first one that begins at or after `start` must end by then.
        if token > 0 and offsets[token - 1, 1] > start:
            return start
    return None
