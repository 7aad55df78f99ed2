"""Whether confidences mean what they say: calibration error, Brier score, and risk against coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecot.world_model.judged import Judged

NUM_BINS = 15
"""Of the reliability table; the usual number since Guo et al. 2017."""

NUM_POINTS = 100
"""Points kept of a risk-coverage curve, so that a report of thousands of turns stays small."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of similar confidence."""

    lowest: float
    """Lowest confidence in the bin."""
    highest: float
    turns: int
    confidence: float
    """Mean confidence; equals `accuracy` for a calibrated model."""
    accuracy: float


@dataclass(frozen=True)
class RiskPoint:
    """What happens if only predictions of at least this confidence are taken."""

    threshold: float
    coverage: float
    """Share of the turns taken."""
    risk: float
    """Share of wrong labels among those taken."""


@dataclass(frozen=True)
class RiskCoverage:
    """Selective prediction: answer where confident, ask the real tool elsewhere."""

    points: tuple[RiskPoint, ...]
    """By rising coverage, at most `NUM_POINTS`; the last one takes every turn."""
    aurc: float
    """Area under the curve: mean risk over all coverages, lower is better."""
    answerable_95: float
    """Largest coverage at which at least 95% are right. Chosen on the turns that it is told of, so it flatters."""


def reliability_table(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = NUM_BINS
) -> list[ReliabilityBin]:
    """Accuracy beside confidence in bins of equal mass, by rising confidence.

    Equal mass, not equal width, because confidences of a trained model crowd near 1: of 15 equally wide bins one would
    hold nearly every turn and hide what happens in it, while the others would rest on a handful (Nixon et al. 2019,
    arXiv 1904.01685). Turns of equal confidence are never parted, so the result does not depend on their order; with
    many ties there are fewer bins, and they are not quite equal.

    Args:
        confidences: probability of the predicted label, one per turn and at least one.
        correct: whether the label was right.
        bins: how many at most.
    """
    values, group, counts = np.unique(np.asarray(confidences, dtype=float), return_inverse=True, return_counts=True)
    hits = np.bincount(group, weights=np.asarray(correct, dtype=float), minlength=len(values))
    last = np.cumsum(counts)
    middle = last - counts / 2
    place = np.floor(middle * bins / last[-1]).astype(int)
    table = []
    for which in np.unique(place):
        inside = place == which
        turns = int(counts[inside].sum())
        mean = float((values[inside] * counts[inside]).sum() / turns)
        accuracy = float(hits[inside].sum() / turns)
        table.append(ReliabilityBin(float(values[inside][0]), float(values[inside][-1]), turns, mean, accuracy))
    return table


def expected_calibration_error(table: Sequence[ReliabilityBin]) -> float:
    """Mean gap of confidence and accuracy, weighted by turns (Naeini et al. 2015; Guo et al. 2017, equation 3).

    Noise in a bin counts as error, so with few turns per bin it is above 0 even for a calibrated model.
    """
    turns = sum(row.turns for row in table)
    return sum(row.turns * abs(row.confidence - row.accuracy) for row in table) / turns


def brier_score(judged: Sequence[Judged]) -> float:
    """Mean over turns of the squared distance of the probabilities from the real label (Brier 1950), 0 to 2.

        sum over labels k of (p_k - [k is the real label])^2

    Unlike the calibration error it is lowest for the true probabilities alone and needs no bins. At least one turn.
    """
    total = 0.0
    for turn in judged:
        total += sum(value**2 for label, value in turn.probabilities.items() if label is not turn.real)
        total += (1 - turn.probabilities.get(turn.real, 0.0)) ** 2
    return total / len(judged)


def risk_coverage(confidences: Sequence[float], correct: Sequence[bool]) -> RiskCoverage:
    """Risk among the most confident turns, for each share of them (Geifman et al. 2019, arXiv 1805.08206).

        AURC = (1/n) sum over k = 1..n of (wrong among the k most confident) / k

    Turns of equal confidence cannot be told apart: the curve has points only between them, and the area takes the mean
    over all their orders.

    Args:
        confidences: probability of the predicted label, one per turn and at least one.
        correct: whether the label was right.
    """
    values, place, counts = np.unique(-np.asarray(confidences, dtype=float), return_inverse=True, return_counts=True)
    wrong = np.bincount(place, weights=1 - np.asarray(correct, dtype=float), minlength=len(values))
    taken, errors = np.cumsum(counts), np.cumsum(wrong)
    total = int(taken[-1])
    each = np.repeat(wrong / counts, counts)  # expected error of each rank
    aurc = float(np.mean(np.cumsum(each) / np.arange(1, total + 1)))
    risks = errors / taken
    good = np.flatnonzero(errors <= 0.05 * taken + 1e-9)
    points = tuple(
        RiskPoint(float(-values[i]), float(taken[i] / total), float(risks[i])) for i in _thinned(taken, total)
    )
    return RiskCoverage(points, aurc, float(taken[good[-1]] / total) if len(good) else 0.0)


def _thinned(taken: NDArray[np.int_], total: int) -> list[int]:
    """Of the curve's points the first at or past each hundredth of the turns."""
    wanted = np.arange(1, NUM_POINTS + 1) * total / NUM_POINTS
    found = np.searchsorted(taken, wanted - 1e-9)
    return sorted(set(found.tolist()))
