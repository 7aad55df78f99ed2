"""From which confidence on a prediction may stand in for the real tool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GRID = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99)
"""The thresholds that may be chosen, fixed beforehand."""

ERROR = 0.1
"""Chance that a domain gets a threshold which does not reach the target."""


@dataclass(frozen=True)
class Answer:
    """A prediction on a calibration turn."""

    task_id: str
    confidence: float
    correct: bool


def choose_threshold(answers: Sequence[Answer], target: float) -> float | None:
    """The smallest confidence of `GRID` from which on accuracy is shown to be at least `target`.

    A threshold is shown by an exact binomial test: errors as few as those seen would have a chance of at most `ERROR`
    were the accuracy below the target (a one-sided Clopper-Pearson bound at 90%). Looking at ten thresholds and taking
    the best would err more often, so they are tested in a sequence: first the one which the test would most likely
    show if confidences were true, then the next lower one for as long as the one before was shown. The first is chosen
    without a look at what was right, so no further correction is due (fixed-sequence testing, in "Learn then test",
    Angelopoulos et al. 2021, arXiv 2110.01052). Bonferroni's correction would do as well but is weaker: in a simulation
    with 300 turns of a calibrated model it trusted 10% of the turns where this trusts 30%. Turns of shared tasks are
    counted as fewer, see `design_effect`.

    What is guaranteed: with a chance of 90% the chosen threshold reaches the target on new turns whose tasks and
    confidences are drawn as these were. What is not: that new turns are drawn so (a new generator or tool version;
    audits are for that); that all domains hold together, each has its own 10%; the accuracy of any single confidence
    above the threshold, only their mean; anything exact where the design effect is badly known, which is with few
    tasks or without an error; and the temperature, which is fitted on the same turns (one number, so the effect is
    small).

    Args:
        answers: of one domain.
        target: accuracy between 0 and 1.

    Returns:
        The threshold, or None where none was shown: always ask the real tool.
    """
    correlation = task_correlation(answers)
    taken = {low: [answer for answer in answers if answer.confidence >= low] for low in GRID}
    evidence = {low: _Evidence.of(turns, correlation) for low, turns in taken.items() if turns}
    if not evidence:
        return None
    first = max(evidence, key=lambda low: (evidence[low].power(target), low))
    chosen = None
    for low in reversed([low for low in evidence if low <= first]):
        if binomial_tail(evidence[low].turns, evidence[low].errors, 1 - target) > ERROR:
            break
        chosen = low
    return chosen


@dataclass(frozen=True)
class _Evidence:
    """The turns above a threshold, as so many independent ones."""

    turns: int
    errors: int
    confidence: float
    """Mean of the turns."""

    @staticmethod
    def of(answers: Sequence[Answer], correlation: float) -> _Evidence:
        turns = math.floor(len(answers) / design_effect(answers, correlation))
        wrong = sum(not answer.correct for answer in answers)
        mean = math.fsum(answer.confidence for answer in answers) / len(answers)
        return _Evidence(turns, math.ceil(wrong * turns / len(answers)), mean)

    def power(self, target: float) -> float:
        """Chance that so many turns pass the test if they are right as often as their confidence says."""
        allowed = -1
        while allowed < self.turns and binomial_tail(self.turns, allowed + 1, 1 - target) <= ERROR:
            allowed += 1
        # A confidence of 1 has no logarithm of its error.
        return binomial_tail(self.turns, allowed, max(1 - self.confidence, 1e-9)) if allowed >= 0 else 0.0


def binomial_tail(trials: int, errors: int, rate: float) -> float:
    """Chance of at most `errors` among `trials` where each fails with chance `rate`, 0 < rate < 1."""
    odds = math.log(rate) - math.log1p(-rate)
    term = trials * math.log1p(-rate)
    total = term
    for count in range(1, min(errors, trials) + 1):
        term += math.log((trials - count + 1) / count) + odds
        high, low = max(total, term), min(total, term)
        total = high + math.log1p(math.exp(low - high))
    return min(1.0, math.exp(total))


def task_correlation(answers: Sequence[Answer]) -> float:
    """How far being right depends on the task: the intraclass correlation of the turns, 0 to 1.

    The ANOVA estimate for binary data (Fleiss 1981; compared by Ridout et al. 1999, Biometrics 55, 137-148):

        r = (MSB - MSW) / (MSB + (m - 1) MSW)

    with the mean squares between and within tasks and m the mean size corrected for unequal sizes. With one task
    nothing is known of other tasks, so r is 1. Where all turns are right or all wrong it cannot be told and is taken
    as 0.
    """
    sizes, hits = _by_task(answers)
    tasks, turns = len(sizes), sizes.sum()
    if tasks < 2:
        return 1.0
    if hits.sum() in (0, turns) or tasks == turns:
        return 0.0
    shares = hits / sizes
    between = float((sizes * (shares - hits.sum() / turns) ** 2).sum() / (tasks - 1))
    within = float((sizes * shares * (1 - shares)).sum() / (turns - tasks))
    mean_size = float((turns - (sizes**2).sum() / turns) / (tasks - 1))
    return min(1.0, max(0.0, (between - within) / (between + (mean_size - 1) * within)))


def design_effect(answers: Sequence[Answer], correlation: float) -> float:
    """By how much turns of shared tasks are worth less than independent ones, at least 1 (Kish 1965, section 8.2).

    1 + (m - 1) r with m the mean size of the task that a turn finds itself in: the sum of squared sizes over turns.
    """
    sizes, _ = _by_task(answers)
    return 1 + float((sizes**2).sum() / sizes.sum() - 1) * correlation


def _by_task(answers: Sequence[Answer]) -> tuple[np.ndarray, np.ndarray]:
    """Turns and right turns of each task, int64."""
    _, place = np.unique([answer.task_id for answer in answers], return_inverse=True)
    sizes = np.bincount(place)
    hits = np.bincount(place, weights=[answer.correct for answer in answers]).astype(np.int64)
    return sizes, hits
