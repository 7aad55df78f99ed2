"""Which trajectories and completions the report shows: chosen by rule, not by taste."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ecot.data_mix.preview import pieces
from ecot.data_mix.store import Document, DocumentStore
from ecot.eval.report.record import RunRecord
from ecot.eval.results import EvalResult
from ecot.outcomes import Label
from ecot.segments import SUPERVISED_KINDS, Kind
from ecot.trajectories import Trajectory

MAX_COMPLETIONS = 3
"""Examples of the last milestone, one per label."""
MAX_SEARCHED = 5000
"""Documents among which examples are looked for: the first of the store."""
MAX_CHARACTERS = 4000
"""Of a completion; the rest is in the file."""


@dataclass(frozen=True)
class Segment:
    """Consecutive tokens of one kind and attempt, as text."""

    kind: Kind
    attempt: int
    text: str
    tokens: int


@dataclass(frozen=True)
class Example:
    """A training document to show."""

    why: str
    """The rule that chose it."""
    document: Document
    labels: tuple[Label | None, ...]
    """Outcomes of the attempts that the document holds."""
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class CompletionExample:
    """One attempt of the model, verbatim."""

    milestone: str
    conversation: Trajectory
    why: str
    text: str
    """What the model wrote, control tokens included."""
    hidden_characters: int
    tokens: int
    finished: bool

    @property
    def shown(self) -> str:
        """The text, or how white space alone is written in code."""
        return self.text if self.text.strip() else repr(self.text)


def choose_documents(store: DocumentStore) -> list[tuple[str, int]]:
    """(rule, document index) of up to three documents, no document twice.

    The shortest that passes with the fewest attempts; the shortest that passes after the most corrections; the shortest
    whose thinking answers a functional mismatch. Shortest, so that they can be read.
    """
    chosen: list[tuple[str, int]] = []
    order = np.argsort(store.lengths[:MAX_SEARCHED], kind="stable").tolist()
    labels = {index: shown_labels(store[index]) for index in order}
    passing = [index for index in order if labels[index] and labels[index][-1] is Label.PASS]
    mismatching = [index for index in order if Label.FUNCTIONAL_MISMATCH in labels[index][:-1]]
    rules = (
        ("the shortest that passes with the fewest attempts", passing, 1),
        ("the shortest that passes after the most corrections", passing, -1),
        ("the shortest that diagnoses a functional mismatch", mismatching, 0),
    )
    for rule, candidates, sign in rules:
        free = [index for index in candidates if index not in {taken for _, taken in chosen}]
        if free:
            chosen.append((rule, min(free, key=lambda index: sign * len(labels[index]))))
    return chosen


def shown_labels(document: Document) -> tuple[Label | None, ...]:
    """Outcomes of the attempts that a document holds: a cut or expanded one ends before its trajectory does."""
    attempts = document.run_table.attempts[np.isin(document.run_table.kinds, SUPERVISED_KINDS)]
    return document.attempt_labels[: int(attempts.max(initial=0))]


def choose_examples(store: DocumentStore, tokenizer: Any) -> list[Example]:
    """The chosen documents with their segments."""
    return [
        Example(rule, store[index], shown_labels(store[index]), segments_of(store[index], tokenizer))
        for rule, index in choose_documents(store)
    ]


def segments_of(document: Document, tokenizer: Any) -> tuple[Segment, ...]:
    """The text of each run of a document, special tokens included."""
    grouped = groupby(pieces(document, tokenizer), key=lambda piece: (piece.kind, piece.attempt))
    segments = []
    for (kind, attempt), group in grouped:
        parts = list(group)
        text = "".join(part.text for part in parts)
        segments.append(Segment(kind, attempt, text, sum(part.tokens for part in parts)))
    return tuple(segments)


def choose_completions(record: RunRecord) -> list[CompletionExample]:
    """First attempts: one per label of the last milestone, and what earlier ones wrote in place of the first."""
    if not record.results:
        return []
    *earlier, last = record.results
    shown: list[CompletionExample] = []
    seen: set[Label] = set()
    for conversation in record.completions(last.milestone):
        label = conversation.attempts[0].label
        if label not in seen and len(shown) < MAX_COMPLETIONS:
            seen.add(label)
            shown.append(_example(last, conversation, f"the first {label} of the last milestone"))
    for result in earlier if shown else []:
        same = [c for c in record.completions(result.milestone) if _place(c) == _place(shown[0].conversation)]
        shown += [_example(result, c, "the same task and sample at an earlier milestone") for c in same]
    return shown


def _place(conversation: Trajectory) -> tuple[str, int]:
    """Task and sample."""
    return conversation.task_id, conversation.provenance.details["sample"]


def _example(result: EvalResult, conversation: Trajectory, why: str) -> CompletionExample:
    turn = conversation.provenance.details["turns"][0]
    text = turn["text"]
    return CompletionExample(
        milestone=result.milestone,
        conversation=conversation,
        why=why,
        text=text[:MAX_CHARACTERS],
        hidden_characters=max(0, len(text) - MAX_CHARACTERS),
        tokens=turn["tokens"],
        finished=turn["finished"],
    )
