"""How well predicted outcomes agree with real ones, per domain and over all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.rates import Rate, pass_rate
from ecot.world_model.judged import Judged, likeliest
from ecot.world_model.reliability import (
    ReliabilityBin,
    RiskCoverage,
    brier_score,
    expected_calibration_error,
    reliability_table,
    risk_coverage,
)

NUM_RESAMPLES = 1000

_LINE = re.compile(r"(?<=\w)\.[A-Za-z]\w*[:(](\d+)\b|\bline (\d+)\b")
"""`candidate.sv:12`, `candidate.cu(12)` and, as the solid modeller and Python say it, `line 12`."""


@dataclass(frozen=True)
class ClassScore:
    """One label as a two-class problem: this label or another."""

    support: int
    """Turns that really have the label."""
    predicted: int
    """Turns predicted to have it."""
    precision: float | None
    """Right among predicted; None when it was never predicted."""
    recall: float | None
    """Right among real; None when it never occurred."""
    f1: float
    """Harmonic mean of both, 2 TP / (support + predicted)."""


@dataclass(frozen=True)
class ClusterInterval:
    """A 95% interval by resampling tasks."""

    low: float
    high: float
    tasks: int


@dataclass(frozen=True)
class DiagnosticsAgreement:
    """How the text agrees where the label is right; a right text under a wrong label is worth nothing."""

    first_line: Rate
    """Equal first line, of all turns with the right label."""
    first_line_failing: Rate
    """The same of those that are no PASS; texts of PASS are nearly all alike."""
    line_numbers: Rate
    """Equal set of line numbers, of those turns where either text names one."""


@dataclass(frozen=True)
class Fidelity:
    """What a group of predictions is worth."""

    turns: int
    tasks: int
    accuracy: Rate
    """Right labels, with Wilson's interval as if turns were independent: it stays sound when nearly all are right."""
    accuracy_by_task: ClusterInterval
    """The same share with whole tasks resampled. Turns of one task share specification, harness and candidates that
    differ by a few characters, so errors come together and Wilson's interval is too narrow; but this one shrinks to
    a point when every turn is right, which Wilson's does not. Quote the wider."""
    macro_f1: float
    """Mean F1 over the labels that really occur, each counting the same."""
    classes: Mapping[Label, ClassScore]
    """Labels that occur or were predicted, in the order of the taxonomy."""
    false_pass: Rate
    """Predicted PASS among the really failing: the harmful direction, since wrong code would enter training data."""
    wrong_among_pass: Rate
    """Really failing among those predicted PASS: the share of poison in what the model lets through."""
    false_fail: Rate
    """Predicted failing among those that really pass: a good attempt lost, and a false observation learnt from."""
    confusion: Mapping[Label, Mapping[Label, int]]
    """Real label, then predicted label, to count; zeros are left out."""
    ece: float
    """Expected calibration error over `reliability`."""
    brier: float
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: RiskCoverage
    diagnostics: DiagnosticsAgreement

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class FidelityReport:
    """Fidelity of a model on held-out turns."""

    overall: Fidelity
    """Over all turns: domains weigh by their turns here."""
    by_domain: Mapping[Domain, Fidelity]
    """Domains that occur, in the order of `Domain`."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "overall": self.overall.to_json(),
            "by_domain": {str(k): v.to_json() for k, v in self.by_domain.items()},
        }


def measure_fidelity(judged: Sequence[Judged], seed: int = 0) -> FidelityReport:
    """All figures of held-out predictions.

    Args:
        judged: predictions beside real outcomes; their order does not matter.
        seed: of the resampling.

    Raises:
        DataError: there is nothing to measure.
    """
    if not judged:
        raise DataError("no prediction to measure; hold out tasks that have real executions")
    groups = {domain: [turn for turn in judged if turn.domain is domain] for domain in Domain}
    by_domain = {domain: _fidelity(turns, seed) for domain, turns in groups.items() if turns}
    return FidelityReport(_fidelity(judged, seed), by_domain)


def _fidelity(judged: Sequence[Judged], seed: int) -> Fidelity:
    pairs = Counter((turn.real, turn.predicted) for turn in judged)
    classes = class_scores(pairs)
    f1s = [score.f1 for score in classes.values() if score.support]
    confidences, correct = [turn.confidence for turn in judged], [turn.correct for turn in judged]
    table = reliability_table(confidences, correct)
    by_task = cluster_interval([(f"{turn.domain} {turn.task_id}", turn.correct) for turn in judged], seed)
    return Fidelity(
        turns=len(judged),
        tasks=by_task.tasks,
        accuracy=pass_rate(correct),
        accuracy_by_task=by_task,
        macro_f1=sum(f1s) / len(f1s),
        classes=classes,
        false_pass=pass_rate(turn.predicted is Label.PASS for turn in judged if turn.real is not Label.PASS),
        wrong_among_pass=pass_rate(turn.real is not Label.PASS for turn in judged if turn.predicted is Label.PASS),
        false_fail=pass_rate(turn.predicted is not Label.PASS for turn in judged if turn.real is Label.PASS),
        confusion={
            real: {predicted: pairs[real, predicted] for predicted in Label if pairs[real, predicted]}
            for real in Label
            if classes.get(real) and classes[real].support
        },
        ece=expected_calibration_error(table),
        brier=brier_score(judged),
        reliability=tuple(table),
        risk_coverage=risk_coverage(confidences, correct),
        diagnostics=diagnostics_agreement(judged),
    )


def class_scores(pairs: Mapping[tuple[Label, Label], int]) -> dict[Label, ClassScore]:
    """Precision, recall and F1 of each label that occurs or was predicted.

    Args:
        pairs: (real, predicted) to count.
    """
    real: Counter[Label] = Counter()
    predicted: Counter[Label] = Counter()
    for (truth, guess), count in pairs.items():
        real[truth] += count
        predicted[guess] += count
    scores = {}
    for label in Label:
        if not real[label] and not predicted[label]:
            continue
        right = pairs.get((label, label), 0)
        scores[label] = ClassScore(
            support=real[label],
            predicted=predicted[label],
            precision=right / predicted[label] if predicted[label] else None,
            recall=right / real[label] if real[label] else None,
            f1=2 * right / (real[label] + predicted[label]),
        )
    return scores


def cluster_interval(results: Sequence[tuple[str, bool]], seed: int, resamples: int = NUM_RESAMPLES) -> ClusterInterval:
    """Percentile bootstrap of a share, drawing whole tasks with replacement (Field and Welsh 2007, JRSS B 69, 369-390).

    Each resample has as many tasks as there are; its share is right turns over turns, so its number of turns varies.
    With fewer than two tasks nothing is known of how tasks differ: the interval is then (0, 1).

    Args:
        results: task and whether the turn was right, one per turn.
        seed: equal seeds and equal results, in whatever order, give equal intervals.
        resamples: how many.
    """
    turns: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for task, correct in results:
        turns[task] += 1
        right[task] += correct
    tasks = sorted(turns)
    if len(tasks) < 2:
        return ClusterInterval(0.0, 1.0, len(tasks))
    sizes, hits = np.array([turns[task] for task in tasks]), np.array([right[task] for task in tasks])
    generator = np.random.default_rng(seed)
    # One resample at a time: all at once would take gigabytes with a hundred thousand tasks.
    shares = np.empty(resamples)
    for index in range(resamples):
        drawn = generator.integers(len(tasks), size=len(tasks))
        shares[index] = hits[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(shares, [0.025, 0.975])
    return ClusterInterval(float(low), float(high), len(tasks))


def line_numbers(text: str) -> frozenset[int]:
    """Line numbers that diagnostics name, in whatever file: `candidate.c:3:5`, `candidate.cu(3)`, `line 3`."""
    return frozenset(int(match[1] or match[2]) for match in _LINE.finditer(text))


def diagnostics_agreement(judged: Iterable[Judged]) -> DiagnosticsAgreement:
    """Agreement of the texts among turns with the right label; spaces at the ends of the first line do not count."""
    first, failing, lines = [], [], []
    for turn in judged:
        if not turn.correct:
            continue
        same = _first_line(turn.real_text) == _first_line(turn.predicted_text)
        first.append(same)
        if turn.real is not Label.PASS:
            failing.append(same)
        real, predicted = line_numbers(turn.real_text), line_numbers(turn.predicted_text)
        if real or predicted:
            lines.append(real == predicted)
    return DiagnosticsAgreement(pass_rate(first), pass_rate(failing), pass_rate(lines))


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def majority_baseline(train: Iterable[tuple[Domain, Label]], heldout: Iterable[Judged]) -> list[Judged]:
    """What a model would score that knows only which label is most frequent in each domain.

    Args:
        train: domain and real label of each turn that the model learnt from.
        heldout: the turns to predict; only what is real of them is used.

    Returns:
        The same turns, predicted with the frequencies of `train` as probabilities and without diagnostics. A domain
        that `train` lacks takes the frequencies over all domains.

    Raises:
        DataError: `train` is empty.
    """
    counts: dict[Domain, Counter[Label]] = {domain: Counter() for domain in Domain}
    for domain, label in train:
        counts[domain][label] += 1
    overall = sum(counts.values(), Counter[Label]())
    if not overall:
        raise DataError("the majority baseline needs at least one turn to count; give the training turns")
    guesses = []
    for turn in heldout:
        seen = counts[turn.domain] or overall
        shares = {label: seen[label] / seen.total() for label in Label if seen[label]}
        guesses.append(Judged(turn.task_id, turn.domain, turn.real, likeliest(shares), shares, turn.real_text, ""))
    return guesses
