"""From which confidence on a prediction may stand in for the real tool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GRID = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99)
"""The thresholds that may be chosen. Few and fixed beforehand, since each look at the data costs certainty."""

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

    Each of the K thresholds is put to an exact binomial test: it passes if errors as few as those seen would have a
    chance of at most 0.1 / K were the accuracy below the target. That is a one-sided Clopper-Pearson bound with
    Bonferroni's correction (the simplest rule of "Learn then test", Angelopoulos et al. 2021, arXiv 2110.01052). Turns
    are counted as fewer by the design effect of their tasks, see `design_effect`.

    What is guaranteed: with a chance of 90% the chosen threshold reaches the target on new turns of the same
    distribution, although ten were looked at. What is not: that turns come from that distribution (a new generator or
    tool version; audits are for that); that all domains hold together, each has its own 10%; the accuracy of any single
    confidence above the threshold, only their mean; anything exact where the design effect is badly known, which is
    with few tasks or without an error; and the temperature, which is fitted on the same turns (one number, so the
    effect is small).

    Args:
        answers: of one domain.
        target: accuracy between 0 and 1.

    Returns:
        The threshold, or None where no one passes: always ask the real tool.
    """
    correlation = task_correlation(answers)
    for threshold in GRID:
        taken = [answer for answer in answers if answer.confidence >= threshold]
        if not taken:
            return None
        effect = design_effect(taken, correlation)
        turns = math.floor(len(taken) / effect)
        wrong = sum(not answer.correct for answer in taken)
        errors = math.ceil(wrong * turns / len(taken))
        if binomial_tail(turns, errors, 1 - target) <= ERROR / len(GRID):
            return threshold
    return None


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
