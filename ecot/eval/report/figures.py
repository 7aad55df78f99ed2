"""The numbers of the report, from the record of a run. Nothing here draws or formats."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecot.data_mix.ledger import Fate, Ledger, Tally
from ecot.data_mix.store import DocumentStore
from ecot.eval.report.record import RunRecord
from ecot.eval.results import EvalResult
from ecot.outcomes import Label
from ecot.segments import Kind

SCORED = (Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION)
"""Kinds whose loss is reported, in this order."""

MAX_MEASURED = 20_000
"""Documents whose turns are measured; of larger stores an evenly spaced sample."""


@dataclass(frozen=True)
class Curve:
    """Loss over trained tokens for one segment kind."""

    kind: Kind
    training: tuple[tuple[int, float], ...]
    """(tokens, nats per token) of every logged step."""
    heldout: tuple[tuple[int, float], ...]
    """The same at the milestones, on held-out documents."""


@dataclass(frozen=True)
class Lengths:
    """Distribution of the lengths of one kind of segment, in tokens."""

    kind: Kind
    attempt: int | None
    """None for all attempts together."""
    values: np.ndarray
    """[turns] int64, ascending."""

    def quantile(self, share: float) -> int:
        """The smallest length that at least this share of the turns do not exceed."""
        return int(np.quantile(self.values, share, method="inverted_cdf"))


@dataclass(frozen=True)
class DomainAccount:
    """What became of the rows of one domain in one store; sums in rows and tokens."""

    store: str
    """`train` or `heldout`."""
    domain: str
    kept: Tally
    cut: Tally
    left_out: Tally
    refused: Tally
    reasons: str
    """Why rows were cut, left out or refused, with counts."""


def scaling_curves(record: RunRecord) -> list[Curve]:
    """A curve per kind of which anything is known."""
    curves = []
    for kind in SCORED:
        name = f"loss/{kind.name.lower()}"
        training = tuple((row["tokens"], row[name]) for row in record.metrics if name in row)
        heldout = tuple((r.trained_tokens, r.heldout.means[name]) for r in record.results if name in r.heldout.means)
        if training or heldout:
            curves.append(Curve(kind, training, heldout))
    return curves


def labels_by_attempt(record: RunRecord, split: str = "train") -> list[dict[str, int]]:
    """For attempt 1, 2 ...: label to count over the synthesised trajectories, in the order of the taxonomy."""
    if record.synthesis is None or split not in record.synthesis.splits:
        return []
    table = []
    for counts in record.synthesis.splits[split].labels_by_attempt:
        coarse: Counter[str] = Counter()
        for name, count in counts.items():
            coarse[name.partition("/")[0]] += count
        table.append(in_taxonomy_order(coarse))
    return table


def in_taxonomy_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by label, PASS first, labels that do not occur left out."""
    return {str(label): counts[label] for label in Label if counts.get(label)}


def label_totals(tables: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Sum over attempts."""
    total: Counter[str] = Counter()
    for counts in tables:
        total.update(counts)
    return in_taxonomy_order(total)


def accounts(data: Mapping[str, Any]) -> list[DomainAccount]:
    """Kept, cut, left out and refused per store and domain, from `store/summary.json`."""
    rows = []
    for store in ("train", "heldout"):
        if not data[store]:
            continue
        ledger = Ledger.from_json(data[store]["ledger"])
        for domain in sorted({entry.domain or "" for entry in ledger.lines}):
            rows.append(_account(store, domain, ledger))
    return rows


def _account(store: str, domain: str, ledger: Ledger) -> DomainAccount:
    sums: dict[Fate, Tally] = defaultdict(Tally)
    reasons = []
    for entry, tally in sorted(ledger.lines.items(), key=lambda item: tuple(map(str, item[0]))):
        if (entry.domain or "") == domain:
            sums[entry.fate].add(tally)
            if entry.reason:
                reasons.append(f"{entry.reason.replace('_', ' ')}: {tally.rows}")
    kept, cut, left_out, refused = (sums[fate] for fate in (Fate.KEPT, Fate.CUT, Fate.LEFT_OUT, Fate.REFUSED))
    return DomainAccount(store, domain or "unknown", kept, cut, left_out, refused, "; ".join(reasons))


def turn_lengths(store: DocumentStore) -> list[Lengths]:
    """Lengths of thoughts, answers and observations: all attempts together, then attempt by attempt."""
    found: dict[tuple[Kind, int | None], list[int]] = defaultdict(list)
    for (kind, attempt), length in _segments(store):
        found[kind, None].append(length)
        found[kind, attempt].append(length)
    attempts: list[int | None] = [None, *sorted({attempt for _, attempt in found if attempt is not None})]
    return [
        Lengths(kind, attempt, np.sort(np.array(found[kind, attempt], np.int64)))
        for kind in SCORED
        for attempt in attempts
        if (kind, attempt) in found
    ]


def _segments(store: DocumentStore) -> Iterator[tuple[tuple[Kind, int], int]]:
    """((kind, attempt), tokens) of each segment of the measured documents."""
    for index in np.linspace(0, len(store) - 1, min(len(store), MAX_MEASURED)).astype(int).tolist():
        sums: Counter[tuple[Kind, int]] = Counter()
        for run in store[index].runs:
            if run.kind in SCORED:
                sums[run.kind, run.attempt] += run.length
        yield from sums.items()


def completion_mixes(results: Sequence[EvalResult]) -> list[tuple[str, dict[str, int]]]:
    """(what, label counts) of the model's own attempts, per milestone and, with corrections, per attempt."""
    rows = []
    for result in results:
        several = len(result.completions.attempts) > 1
        for outcomes in result.completions.attempts:
            name = f"{result.milestone}, attempt {outcomes.attempt}" if several else result.milestone
            rows.append((name, outcomes.labels))
    return rows
