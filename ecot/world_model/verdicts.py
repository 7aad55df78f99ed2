"""Whether a whole loop of attempts ends the same under the world model as under the real tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.rates import Rate, pass_rate


@dataclass(frozen=True)
class Replayed:
    """A stored trajectory with the model's predictions for the same attempts.

    Raises:
        DataError: there is no attempt, or not one prediction for each.
    """

    domain: Domain
    real: Sequence[Label]
    """Real label of each attempt."""
    predicted: Sequence[Label]
    """Predicted label of each attempt."""

    def __post_init__(self) -> None:
        if not self.real or len(self.real) != len(self.predicted):
            given = f"{len(self.real)} real and {len(self.predicted)} predicted labels"
            raise DataError(f"a replayed trajectory needs one predicted label for each attempt, given {given}")

    @property
    def real_end(self) -> int:
        """Index of the attempt at which the loop ends under the real tools."""
        return loop_end(self.real)

    @property
    def predicted_end(self) -> int:
        """Index of the attempt at which the loop ends under the model."""
        return loop_end(self.predicted)


@dataclass(frozen=True)
class VerdictRates:
    """How often trajectories end alike."""

    verdict: Rate
    """The same final verdict, pass or fail."""
    end: Rate
    """Ended at the same attempt, whatever the verdict."""
    false_pass: Rate
    """Ended at a predicted PASS of an attempt that really fails. The verdicts may agree all the same, where a later
    attempt really passes; the kept code is wrong in either case."""
    false_pass_of_passes: Rate
    """The same, among the trajectories that ended at a predicted PASS."""


@dataclass(frozen=True)
class VerdictAgreement:
    """Agreement over all trajectories and broken down; groups without a trajectory are left out."""

    overall: VerdictRates
    by_attempts: Mapping[int, VerdictRates]
    """By the number of attempts that the real loop took."""
    by_domain: Mapping[Domain, VerdictRates]

    def to_json(self) -> dict[str, Any]:
        """Plain values; numbers of attempts become text, as keys of JSON are."""
        return {
            "overall": asdict(self.overall),
            "by_attempts": {str(number): asdict(rates) for number, rates in self.by_attempts.items()},
            "by_domain": {str(domain): asdict(rates) for domain, rates in self.by_domain.items()},
        }


def loop_end(labels: Sequence[Label]) -> int:
    """Index of the first PASS, or of the last attempt: where the loop stops."""
    return labels.index(Label.PASS) if Label.PASS in labels else len(labels) - 1


def verdict_agreement(trajectories: Sequence[Replayed]) -> VerdictAgreement:
    """How often the loop ends the same under the model, over stored trajectories.

    The loop ends at the first predicted PASS or at the last stored attempt, and its verdict is whether it ended at a
    PASS. Replay measures this only for the stored continuations: in a live loop the code model would read the predicted
    diagnostics, not the real ones, and write another next attempt; and where the model misses a real PASS there is no
    stored attempt after it, so the loop counts as failed although it would have gone on. One trajectory may hold few
    independent turns (most loops take one or two attempts), hence the breakdown by length.

    Raises:
        DataError: there is no trajectory.
    """
    if not trajectories:
        raise DataError("no trajectory to replay; give held-out trajectories with real executions")
    lengths: dict[int, list[Replayed]] = {}
    domains: dict[Domain, list[Replayed]] = {}
    for item in trajectories:
        lengths.setdefault(item.real_end + 1, []).append(item)
        domains.setdefault(item.domain, []).append(item)
    return VerdictAgreement(
        overall=_rates(trajectories),
        by_attempts={number: _rates(items) for number, items in sorted(lengths.items())},
        by_domain={domain: _rates(domains[domain]) for domain in Domain if domain in domains},
    )


def _rates(trajectories: Iterable[Replayed]) -> VerdictRates:
    verdict, end, false_pass, of_passes = [], [], [], []
    for item in trajectories:
        at = item.predicted_end
        passed = item.predicted[at] is Label.PASS
        wrong = passed and item.real[at] is not Label.PASS
        verdict.append(passed == (item.real[item.real_end] is Label.PASS))
        end.append(at == item.real_end)
        false_pass.append(wrong)
        if passed:
            of_passes.append(wrong)
    return VerdictRates(pass_rate(verdict), pass_rate(end), pass_rate(false_pass), pass_rate(of_passes))
