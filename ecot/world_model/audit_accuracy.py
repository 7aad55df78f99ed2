"""How accurate predictions were, told from the few that were executed for real afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.rates import Rate, pass_rate, wilson_bounds


class AuditArm(StrEnum):
    """Why a predicted outcome was executed for real.

    The random draw comes first, over all predicted turns: a turn that it takes belongs to it, whatever else would have
    taken the turn too. Otherwise the random arm would lack the turns that the others choose.
    """

    RANDOM = "random"
    LOW_CONFIDENCE = "low_confidence"
    PASS = "pass"


@dataclass(frozen=True)
class Audited:
    """A predicted turn that was executed for real.

    Raises:
        DataError: the inclusion probability is not above 0 and at most 1.
    """

    task_id: str
    domain: Domain
    predicted: Label
    real: Label
    arm: AuditArm
    inclusion: float
    """Chance that this turn was audited by any arm, known before the draw: 1 for what is always audited, the random
    share for what only the random draw can take; see `inclusion_probability`."""

    def __post_init__(self) -> None:
        if not 0 < self.inclusion <= 1:
            place = f"audited turn of task {self.task_id!r}"
            raise DataError(f"{place}: inclusion must be above 0 and at most 1, given {self.inclusion}")

    @property
    def agreed(self) -> bool:
        """Whether the prediction was right."""
        return self.predicted is self.real


@dataclass(frozen=True)
class WeightedShare:
    """A share estimated from turns drawn with unequal chances."""

    value: float
    low: float
    high: float
    effective_size: float
    """Turns of an equal draw that would tell as much; at most the turns audited."""
    audited: int


@dataclass(frozen=True)
class AccuracyEstimate:
    """Accuracy over all predicted turns, audited or not."""

    random: Rate
    """From the random arm alone."""
    weighted: WeightedShare
    """From all arms, each turn counting for as many as it stands for."""
    chosen: Mapping[AuditArm, Rate]
    """Agreement within the other arms. They are chosen for being doubtful or harmful: no estimate of the accuracy."""


@dataclass(frozen=True)
class AuditReport:
    """What audits say."""

    overall: AccuracyEstimate
    by_domain: Mapping[Domain, AccuracyEstimate]
    """Domains with an audited turn, in the order of `Domain`."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        by_domain = {str(domain): asdict(estimate) for domain, estimate in self.by_domain.items()}
        return {"overall": asdict(self.overall), "by_domain": by_domain}


def inclusion_probability(shares: Iterable[float]) -> float:
    """Chance that at least one of several independent arms takes a turn: 1 - product of (1 - p).

    Args:
        shares: chance p of each arm to take this turn.
    """
    return 1 - math.prod(1 - share for share in shares)


def estimate_accuracy(audited: Sequence[Audited]) -> AuditReport:
    """Accuracy of all predictions from the audited ones.

    Without a turn of the random arm `random` has no trials and the interval (0, 1), and `weighted` speaks only of the
    turns that the other arms could have taken.

    Raises:
        DataError: nothing was audited.
    """
    if not audited:
        raise DataError("no audited turn to estimate from; execute some predictions for real")
    groups = {domain: [turn for turn in audited if turn.domain is domain] for domain in Domain}
    return AuditReport(_estimate(audited), {domain: _estimate(turns) for domain, turns in groups.items() if turns})


def _estimate(audited: Sequence[Audited]) -> AccuracyEstimate:
    by_arm = {arm: pass_rate(turn.agreed for turn in audited if turn.arm is arm) for arm in AuditArm}
    random = by_arm.pop(AuditArm.RANDOM)
    return AccuracyEstimate(random, weighted_share(audited), {arm: rate for arm, rate in by_arm.items() if rate.trials})


def weighted_share(audited: Sequence[Audited], confidence: float = 0.95) -> WeightedShare:
    """Hájek's estimate: Horvitz and Thompson's totals of right turns and of turns, each turn weighing 1 / inclusion.

        accuracy = sum(right / p) / sum(1 / p)
        variance = sum((1 - p) / p^2 (right - accuracy)^2) / sum(1 / p)^2

    (Särndal, Swensson and Wretman 1992, sections 5.7 and 7.5; the variance for independent draws.) It is the estimate
    stratified by inclusion. The interval is Wilson's at the effective size accuracy (1 - accuracy) / variance (the idea
    of Korn and Graubard 1998, Survey Methodology 24, 193-201), so it is not empty when all agree. That size is held to
    the turns audited, and where the variance is 0 to Kish's (sum of weights)^2 / sum of squared weights: a rare error
    that no draw has met yet would otherwise make the interval too narrow.

    Args:
        audited: at least one turn.
        confidence: of the interval.
    """
    weights = [1 / turn.inclusion for turn in audited]
    total = math.fsum(weights)
    value = math.fsum(weight for weight, turn in zip(weights, audited, strict=True) if turn.agreed) / total
    spread = math.fsum(
        (1 - turn.inclusion) * (weight * (turn.agreed - value)) ** 2
        for weight, turn in zip(weights, audited, strict=True)
    )
    size = total**2 / math.fsum(weight**2 for weight in weights)
    if 0 < value < 1 and spread > 0:
        size = min(float(len(audited)), value * (1 - value) * total**2 / spread)
    low, high = wilson_bounds(value, size, confidence)
    return WeightedShare(value, low, high, size, len(audited))
