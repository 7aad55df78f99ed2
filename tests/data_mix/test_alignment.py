"""Character spans to token runs, against a loop over characters."""

import itertools

import numpy as np
import pytest

from ecot.data_mix.alignment import Span, align, align_offsets
from ecot.data_mix.encoder import Place
from ecot.segments import SUPERVISED_KINDS, Kind, Run

PROMPT, THINKING, ANSWER, OBSERVATION = Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION


def slow_align(offsets, spans):
    """One token at a time, with the kind of each of its characters."""
    characters, begin = [], 0
    for span in spans:
        characters += [(span.kind, span.attempt)] * (span.end - begin)
        begin = span.end
    tokens = []
    for start, end in offsets:
        covered = characters[start : max(end, start + 1)] or characters[-1:]
        unsupervised = [segment for segment in covered if segment[0] not in SUPERVISED_KINDS]
        tokens.append((unsupervised or covered)[0])
    return tokens


@pytest.mark.parametrize("seed", range(30))
def test_runs_equal_those_of_a_loop(seed):
    generator = np.random.default_rng(seed)
    ends = np.cumsum(generator.integers(0, 6, size=9))
    spans = [Span(int(end), Kind(int(generator.integers(0, 4))), number // 3) for number, end in enumerate(ends)]
    edges = sorted({0, int(ends[-1]), *generator.integers(0, ends[-1] + 1, size=12).tolist()})
    offsets = list(itertools.pairwise(edges))
    # A character of several tokens, as byte-level BPE has them.
    offsets = [pair for pair in offsets for _ in range(2 if pair[1] - pair[0] == 1 else 1)]
    aligned = align_offsets(np.array(offsets), spans, ())
    tokens = [(run.kind, run.attempt) for run in aligned.runs for _ in range(run.length)]
    assert tokens == slow_align(offsets, spans)


def test_a_straddling_token_is_not_trained_with_a_character_of_the_prompt():
    spans = [Span(4, PROMPT, 0), Span(8, THINKING, 1), Span(12, ANSWER, 1), Span(16, OBSERVATION, 1)]
    offsets = np.array([(0, 3), (3, 6), (6, 9), (9, 13), (13, 16)])
    aligned = align_offsets(offsets, spans, ())
    assert aligned.runs == (Run(2, PROMPT, 0), Run(1, THINKING, 1), Run(2, OBSERVATION, 1))
    assert aligned.straddling == 3


def test_turns_must_begin_with_a_token():
    spans = [Span(4, PROMPT, 0), Span(8, ANSWER, 1)]
    assert align_offsets(np.array([(0, 4), (4, 8)]), spans, (4,)).crossed_turn is None
    assert align_offsets(np.array([(0, 3), (3, 5), (5, 8)]), spans, (4,)).crossed_turn == 4
    assert align_offsets(np.array([(0, 2), (2, 8)]), spans, (4,)).crossed_turn == 4


def test_no_tokens_no_runs():
    assert align_offsets(np.empty((0, 2), np.int64), [Span(0, PROMPT, 0)], ()).runs == ()


class OffsetText:
    """Tokens at given offsets, looked up one character at a time."""

    def __init__(self, offsets):
        self.ids = np.zeros(len(offsets), np.int32)
        self._offsets = offsets

    def locate(self, characters):
        places = []
        for position in characters:
            token = next((i for i, (begin, end) in enumerate(self._offsets) if begin <= position < end), None)
            if token is None:
                return None
            places.append(Place(token, self._offsets[token][0] < position))
        return places

    def offsets(self):
        return np.array(self._offsets)


@pytest.mark.parametrize("seed", range(40))
def test_looking_up_ends_of_spans_gives_the_same_as_all_offsets(seed):
    generator = np.random.default_rng(seed)
    ends = np.cumsum(generator.integers(0, 5, size=12)) + 1
    spans = [Span(int(end), Kind(int(generator.integers(0, 4))), number // 3) for number, end in enumerate(ends)]
    edges = sorted({0, int(ends[-1]), *generator.integers(0, ends[-1] + 1, size=10).tolist()})
    offsets = []
    for begin, end in itertools.pairwise(edges):
        # Tokens that are parts of one character share its offsets, and one may also hold the characters before.
        offsets += [(begin, end), (end - 1, end)] if generator.random() < 0.3 else [(begin, end)]
    starts = tuple(sorted(generator.integers(0, ends[-1], size=3).tolist()))
    if seed % 8 == 7 and len(offsets) > 3:  # a normaliser dropped some characters
        del offsets[2]
    found = align(OffsetText(offsets), spans, starts)
    assert found == align_offsets(np.array(offsets), spans, starts)
    tokens = [(run.kind, run.attempt) for run in found.runs for _ in range(run.length)]
    assert tokens == slow_align(offsets, spans)
