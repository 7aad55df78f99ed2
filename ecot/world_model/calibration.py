"""From scores of labels to probabilities that mean what they say, by temperature; fitted on calibration tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.world_model.judged import likeliest
from ecot.world_model.thresholds import Answer, choose_threshold

LOWEST, HIGHEST = 0.05, 20.0
"""Range of temperatures; a model that is never wrong on the calibration turns would want 0."""

MIN_TURNS = 50
"""Turns that a domain needs for a temperature of its own."""

NUM_GRID = 121
"""Temperatures on which a domain's own is compared with the common one: a step of 5%."""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ScoredTurn:
    """A prediction of the model on a calibration turn, before calibration.

    Raises:
        DataError: there is no score, or one is not finite.
    """

    task_id: str
    domain: Domain
    real: Label
    scores: Mapping[Label, float]
    """Log-probabilities up to a constant. The real label may be missing where the model cannot predict it."""

    def __post_init__(self) -> None:
        if not self.scores or not all(math.isfinite(score) for score in self.scores.values()):
            raise DataError(
                f"task {self.task_id!r}: scores of labels must be finite and at least one, given {dict(self.scores)}"
            )


@dataclass(frozen=True)
class Calibration:
    """What turns scores into probabilities, and says which of them to rely on."""

    temperature: float
    """For domains without one of their own. Above 1 the model was too sure of itself."""
    by_domain: Mapping[Domain, float]
    thresholds: Mapping[Domain, float | None]
    """Lowest confidence at which a prediction stands in for the tool; None is never, as for a domain left out."""

    def probabilities(self, domain: Domain, scores: Mapping[Label, float]) -> dict[Label, float]:
        """Softmax of scores over temperature (Guo et al. 2017, arXiv 1706.04599, equation 9); sums to 1.

        The order of the labels stays as it was, so calibration changes no prediction.

        Raises:
            DataError: there is no score.
        """
        if not scores:
            raise DataError(f"domain {domain}: no label has a score; the model must score at least one")
        temperature = self.by_domain.get(domain, self.temperature)
        top = max(scores.values())
        powers = {label: math.exp((score - top) / temperature) for label, score in scores.items()}
        total = math.fsum(powers.values())
        return {label: power / total for label, power in powers.items()}

    def trusts(self, domain: Domain, confidence: float) -> bool:
        """Whether a prediction of this confidence may stand in for the real tool."""
        threshold = self.thresholds.get(domain)
        return threshold is not None and confidence >= threshold

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "temperature": self.temperature,
            "by_domain": {str(domain): value for domain, value in self.by_domain.items()},
            "thresholds": {str(domain): value for domain, value in self.thresholds.items()},
        }

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_json`.

        Raises:
            DataError: a key is missing, unknown or holds what it must not.
        """
        wanted = {"temperature", "by_domain", "thresholds"}
        if set(row) != wanted:
            raise DataError(f"calibration: keys must be {', '.join(sorted(wanted))}, given {', '.join(sorted(row))}")
        return Calibration(
            temperature=_temperature("temperature", row["temperature"]),
            by_domain=_domains("by_domain", row["by_domain"], _temperature),
            thresholds=_domains("thresholds", row["thresholds"], _threshold),
        )


def fit_calibration(turns: Sequence[ScoredTurn], target: float = 0.95) -> Calibration:
    """Fit temperatures, then thresholds.

    One temperature over all turns minimises their mean negative log-likelihood. A domain gets its own where it has
    `MIN_TURNS` turns of at least two tasks and that lowers the likelihood of tasks left out, one at a time; otherwise
    its own would fit noise. Turns whose real label has no score are left out of both, since no temperature mends them,
    and count as wrong for the thresholds.

    Args:
        turns: on calibration tasks, which the model has not learnt from. Their order does not matter.
        target: accuracy that `choose_threshold` must show.

    Raises:
        DataError: there is no turn.
        ValueError: the target is not between 0 and 1.
    """
    if not turns:
        raise DataError("no turn to calibrate on; keep back some tasks that have real executions")
    if not 0 < target < 1:
        raise ValueError(f"target must lie between 0 and 1, given {target}")
    fitting = [turn for turn in turns if turn.real in turn.scores]
    common = fit_temperature(fitting)
    own = {}
    for domain in Domain:
        inside = [turn for turn in fitting if turn.domain is domain]
        if len(inside) >= MIN_TURNS and _own_is_better(inside, fitting):
            own[domain] = fit_temperature(inside)
    fitted = Calibration(common, own, {})
    answers: dict[Domain, list[Answer]] = {}
    for turn in turns:
        probabilities = fitted.probabilities(turn.domain, turn.scores)
        label = likeliest(probabilities)
        answers.setdefault(turn.domain, []).append(Answer(turn.task_id, probabilities[label], label is turn.real))
    thresholds = {domain: choose_threshold(answers[domain], target) for domain in Domain if domain in answers}
    return Calibration(common, own, thresholds)


def fit_temperature(turns: Sequence[ScoredTurn]) -> float:
    """The temperature with the lowest mean negative log-likelihood; 1 without turns.

    Golden-section search over its logarithm within `LOWEST` and `HIGHEST`, to a relative error of 1e-4: the loss is
    convex in 1 / temperature, so it has one valley.
    """
    if not turns:
        return 1.0
    gaps = _gaps(turns)
    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(LOWEST), math.log(HIGHEST)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = _sum(gaps, left), _sum(gaps, right)
    while high - low > 1e-4:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = _sum(gaps, left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = _sum(gaps, right)
    return math.exp((low + high) / 2)


def _own_is_better(inside: Sequence[ScoredTurn], everything: Sequence[ScoredTurn]) -> bool:
    """Whether a domain's own temperature does better than the common one on each of its tasks, left out in turn."""
    tasks = sorted({turn.task_id for turn in inside})
    if len(tasks) < 2:
        return False
    place = np.searchsorted(tasks, [turn.task_id for turn in inside])
    own_gaps, all_gaps = _gaps(inside), _gaps(everything)
    grid = np.exp(np.linspace(math.log(LOWEST), math.log(HIGHEST), NUM_GRID))
    by_task_GT = np.array([np.bincount(place, _losses(own_gaps, value), len(tasks)) for value in grid])
    everything_G = np.array([_losses(all_gaps, value).sum() for value in grid])
    # Leaving a task out takes its losses off the sum, so nothing is fitted anew.
    own = np.argmin(by_task_GT.sum(1, keepdims=True) - by_task_GT, axis=0)
    common = np.argmin(everything_G[:, None] - by_task_GT, axis=0)
    column = np.arange(len(tasks))
    return bool(by_task_GT[own, column].sum() < by_task_GT[common, column].sum())


def _gaps(turns: Sequence[ScoredTurn]) -> NDArray[np.float64]:
    """[turns, labels]: each label's score less that of the real one; -inf where a label has no score."""
    labels = list(Label)
    rows = [[turn.scores.get(label, -math.inf) - turn.scores[turn.real] for label in labels] for turn in turns]
    return np.array(rows, dtype=np.float64)


def _losses(gaps: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Negative log-likelihood of the real label of each turn: log of the sum of exp(gap / temperature)."""
    scaled = gaps / temperature
    top = scaled.max(axis=1)
    return top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))


def _sum(gaps: NDArray[np.float64], log_temperature: float) -> float:
    # Rounded once, so that the order of the turns cannot matter.
    return math.fsum(_losses(gaps, math.exp(log_temperature)))


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"calibration: key {key!r} must be a finite number, given {value!r}")
    return float(value)


def _temperature(key: str, value: Any) -> float:
    number = _number(key, value)
    if number <= 0:
        raise DataError(f"calibration: key {key!r} must be above 0, given {value!r}")
    return number


def _threshold(key: str, value: Any) -> float | None:
    if value is None:
        return None
    number = _number(key, value)
    if not 0 <= number <= 1:
        raise DataError(f"calibration: key {key!r} must lie in 0..1 or be null, given {value!r}")
    return number


def _domains(key: str, row: Any, read: Callable[[str, Any], _Value]) -> dict[Domain, _Value]:
    if not isinstance(row, Mapping):
        raise DataError(f"calibration: key {key!r} must map domains to values, given {row!r}")
    unknown = sorted(set(map(str, row)) - set(Domain))
    if unknown:
        raise DataError(f"calibration: key '{key}.{unknown[0]}' is no domain; allowed: {', '.join(Domain)}")
    return {Domain(name): read(f"{key}.{name}", value) for name, value in row.items()}
