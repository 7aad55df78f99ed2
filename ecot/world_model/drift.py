"""Whether a world model has become worse than it was judged to be, told turn by turn from random audits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ecot.errors import DataError


class DriftState(StrEnum):
    """What a test says so far."""

    OK = "ok"
    """Not as bad as the drop that is looked for."""
    DRIFTED = "drifted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class DriftTest:
    """Wald's sequential probability ratio test of the accuracy against a drop.

    It (Wald 1945, Annals of Mathematical Statistics 16, 117-186) weighs "accuracy is `baseline`" against "accuracy is
    `baseline - drop`" by the log of their likelihood ratio:

        statistic = disagreements * log((1 - p1) / (1 - p0)) + agreements * log(p1 / p0)

    with p0 the baseline and p1 the lower accuracy. It says drifted at log(1 / alpha) or more, ok at log(beta) or less,
    and is undecided between. A decided test takes no more turns: start a new one for the next batch of predictions.

    Why this and not a CUSUM: one looks after every audited turn and wants to stop paying for audits as soon as enough
    is known, with stated chances of both errors, and with an answer that may be "ok". A CUSUM never says ok, and its
    error is a mean time between false alarms. With the bounds 1 / alpha and beta, a little wider than Wald's own
    approximate ones, the chances hold exactly (Ville's inequality), however long the test runs:

    - at an accuracy of `baseline` or more it says drifted with a chance of at most alpha;
    - at `baseline - drop` or less it says ok with a chance of at most beta, so it finds the drop with the rest.

    Per test, that is: of many batches without drift a share of up to alpha alarms. An accuracy between the two may end
    either way. At a baseline of 0.95 a drop of 3 points is found after about 300 random audits on average, and a
    model that holds is cleared after about 200.

    Feed it turns of the random arm alone, in the order audited: other arms are chosen to be wrong more often. The turns
    must be independent, so draw few per task. The baseline counts as known: give the lower end of the interval of the
    held-out accuracy, or its own error will look like drift.

    Raises:
        DataError: a number is outside what it may be.
    """

    baseline: float
    """Accuracy that is expected, above `drop` and below 1."""
    drop: float = 0.03
    """Loss of accuracy that must not go unnoticed."""
    alpha: float = 0.05
    """Chance of a false alarm."""
    beta: float = 0.2
    """Chance to miss the drop; 1 - beta is the power."""
    audits: int = 0
    """Turns seen until the test was decided."""
    disagreements: int = 0
    """Those of them whose prediction was wrong."""

    def __post_init__(self) -> None:
        if not 0 < self.drop < self.baseline < 1:
            raise DataError(
                f"drift test: drop must be above 0 and below baseline, and baseline below 1, given drop {self.drop} "
                f"and baseline {self.baseline}; give the lower end of the held-out accuracy's interval as baseline"
            )
        if not (self.alpha > 0 and self.beta > 0 and self.alpha + self.beta < 1):
            given = f"{self.alpha} and {self.beta}"
            raise DataError(f"drift test: alpha and beta must be above 0 and their sum below 1, given {given}")
        if not 0 <= self.disagreements <= self.audits:
            given = f"{self.disagreements} of {self.audits}"
            raise DataError(f"drift test: disagreements must lie in 0..audits, given {given}")

    @property
    def statistic(self) -> float:
        """Log-likelihood ratio of the drop against the baseline; above 0 the drop explains the turns better."""
        lower = self.baseline - self.drop
        per_error = math.log((1 - lower) / (1 - self.baseline))
        return self.disagreements * per_error + (self.audits - self.disagreements) * math.log(lower / self.baseline)

    @property
    def state(self) -> DriftState:
        """What is known after the turns so far."""
        if self.statistic >= -math.log(self.alpha):
            return DriftState.DRIFTED
        return DriftState.OK if self.statistic <= math.log(self.beta) else DriftState.UNDECIDED

    def update(self, agreed: bool) -> DriftTest:
        """The test after one more audited turn; itself, unchanged, once it is decided."""
        if self.state is not DriftState.UNDECIDED:
            return self
        return replace(self, audits=self.audits + 1, disagreements=self.disagreements + (not agreed))

    def restarted(self) -> DriftTest:
        """The same test without turns, for the next batch."""
        return replace(self, audits=0, disagreements=0)

    def to_json(self) -> dict[str, Any]:
        """Plain values: the fields, and `state` and `statistic` for readers."""
        return {**asdict(self), "state": str(self.state), "statistic": self.statistic}

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> DriftTest:
        """The inverse of `to_json`; `state` and `statistic` are computed anew.

        Raises:
            DataError: a key is missing or unknown, or a value is not what it must be.
        """
        kinds = {"baseline": float, "drop": float, "alpha": float, "beta": float, "audits": int, "disagreements": int}
        keys = set(row) - {"state", "statistic"}
        if keys != set(kinds):
            raise DataError(f"drift test: keys must be {', '.join(sorted(kinds))}, given {', '.join(sorted(keys))}")
        for key, kind in kinds.items():
            allowed = int if kind is int else (int, float)
            if isinstance(row[key], bool) or not isinstance(row[key], allowed):
                word = "a whole number" if kind is int else "a number"
                raise DataError(f"drift test: key {key!r} must be {word}, given {row[key]!r}")
        return DriftTest(**{key: kind(row[key]) for key, kind in kinds.items()})
