"""One prediction beside what the tool really said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ecot.errors import DataError
from ecot.outcomes import Domain, Label

TOLERANCE = 1e-5
"""How far probabilities may be off: they may have been written with six digits and read back."""

_PLACE = {label: place for place, label in enumerate(Label)}


def likeliest(probabilities: Mapping[Label, float]) -> Label:
    """The label with the highest value; of equal ones that which stands earlier in the taxonomy.

    Raises:
        DataError: there is no label to choose from.
    """
    if not probabilities:
        raise DataError("no label has a probability; give at least one")
    return max(probabilities, key=lambda label: (probabilities[label], -_PLACE[label]))


@dataclass(frozen=True)
class Judged:
    """A predicted outcome and the real one.

    Raises:
        DataError: the probabilities are none, the predicted label is not the likeliest, or the real outcome is a
            failure of the tool, which says nothing about the candidate.
    """

    task_id: str
    """Turns of one task are not independent; intervals and fits are clustered by it."""
    domain: Domain
    real: Label
    predicted: Label
    probabilities: Mapping[Label, float]
    """Over labels, summing to 1; a label left out has probability 0."""
    real_text: str = ""
    """Diagnostics of the tool, cut to what the model is trained to write."""
    predicted_text: str = ""
    """Diagnostics that the model wrote."""

    def __post_init__(self) -> None:
        place = f"prediction for task {self.task_id!r}"
        if self.real is Label.TOOL_ERROR:
            raise DataError(
                f"{place}: the real outcome is {self.real}, which is no outcome of the candidate; leave it out"
            )
        values = self.probabilities.values()
        # Written so that a NaN fails too.
        if not all(0 <= value <= 1 + TOLERANCE for value in values) or not abs(sum(values) - 1) <= TOLERANCE:
            raise DataError(f"{place}: probabilities must lie in 0..1 and sum to 1, given {dict(self.probabilities)}")
        if self.confidence < max(values) - TOLERANCE:
            likely = likeliest(self.probabilities)
            raise DataError(f"{place}: predicted {self.predicted}, but {likely} is the likeliest label; predict that")

    @property
    def confidence(self) -> float:
        """Probability of the predicted label."""
        return self.probabilities.get(self.predicted, 0.0)

    @property
    def correct(self) -> bool:
        """Whether the predicted label is the real one."""
        return self.predicted is self.real
