"""Shares of successes with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Rate:
    """A share of successes with its confidence interval."""

    value: float
    low: float
    high: float
    successes: int
    trials: int


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a binomial proportion (Wilson 1927, JASA 22, 209-212); (0, 1) without trials.

    Unlike the normal approximation it stays inside [0, 1] and is not empty when nothing or everything succeeds, which
    is where small models are.

    Raises:
        ValueError: the counts or the confidence make no sense.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie in 0..trials, given {successes} of {trials}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, given {confidence}")
    if trials == 0:
        return 0.0, 1.0
    return wilson_bounds(successes / trials, trials, confidence)


def wilson_bounds(share: float, size: float, confidence: float) -> tuple[float, float]:
    """Wilson's interval for a size above 0 that need not be whole: where (share - p)^2 = z^2 p (1 - p) / size."""
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (share + z2 / (2 * size)) / (1 + z2 / size)
    half = math.sqrt(z2 * (share * (1 - share) / size + z2 / (4 * size**2))) / (1 + z2 / size)
    # At the ends the exact bound is 0 or 1; rounding would leave 1e-17.
    return 0.0 if share == 0 else centre - half, 1.0 if share == 1 else centre + half


def pass_rate(passed: Iterable[bool]) -> Rate:
    """Share of trials that passed with its Wilson interval at 95%.

    Several samples of one task count as trials of their own: the interval is about these tasks under repeated sampling,
    not about tasks in general.
    """
    results = list(passed)
    successes = sum(results)
    low, high = wilson_interval(successes, len(results))
    return Rate(successes / len(results) if results else 0.0, low, high, successes, len(results))
