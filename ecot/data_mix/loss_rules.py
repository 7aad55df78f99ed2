"""Rules that refine the weights of tokens; a part of the configuration, so nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from ecot.config import Config
from ecot.outcomes import Domain, Label

if TYPE_CHECKING:
    from ecot.data_mix.store import Document


class KindName(StrEnum):
    """The kinds that rules can name."""

    THINKING = "thinking"
    ANSWER = "answer"
    OBSERVATION = "observation"


class LossRule(Config):
    """Multiplies the weight of the tokens that meet all of its conditions; a condition left out is always met."""

    name: str = ""
    """For the log."""
    factor: float = Field(ge=0, allow_inf_nan=False)
    """What the weight is multiplied by; 0 leaves the tokens out of the loss."""
    kinds: tuple[KindName, ...] = ()
    """Kinds of tokens."""
    labels: tuple[Label, ...] = ()
    """Outcome of the attempt that the token belongs to."""
    failed: bool | None = None
    """Whether that attempt was executed and did not pass (true), or passed (false)."""
    after_labels: tuple[Label, ...] = ()
    """Outcome of the attempt before it."""
    after_failure: bool | None = None
    """Whether the attempt before it was executed and did not pass (true); false for a first attempt."""
    last: bool | None = None
    """Whether the attempt is the last one of the document."""
    min_attempt: int | None = Field(default=None, ge=1)
    """The attempt's number or a later one."""
    max_attempt: int | None = Field(default=None, ge=1)
    """The attempt's number or an earlier one."""
    verdicts: tuple[Label, ...] = ()
    """Outcome of the trajectory's last attempt."""
    domains: tuple[Domain, ...] = ()
    """Domain of the trajectory."""

    @model_validator(mode="after")
    def _some_attempt(self) -> Self:
        if self.min_attempt and self.max_attempt and self.max_attempt < self.min_attempt:
            raise ValueError(f"max_attempt ({self.max_attempt}) is below min_attempt ({self.min_attempt}): no attempt")
        return self

    def matches_document(self, document: Document) -> bool:
        """Whether the conditions on the trajectory are met."""
        return (not self.verdicts or document.verdict in self.verdicts) and (
            not self.domains or document.domain in self.domains
        )

    def matches_attempt(self, labels: Sequence[Label | None], attempt: int, last: int) -> bool:
        """Whether the conditions on an attempt are met.

        Args:
            labels: outcomes of attempts 1, 2 ...; None where nothing was executed.
            attempt: its number; 0 before the first.
            last: the number of the document's last attempt.
        """
        own = labels[attempt - 1] if 0 < attempt <= len(labels) else None
        before = labels[attempt - 2] if 1 < attempt <= len(labels) + 1 else None
        return (
            (not self.labels or own in self.labels)
            and (self.failed is None or (own is not None and (own is not Label.PASS) == self.failed))
            and (not self.after_labels or before in self.after_labels)
            and (self.after_failure is None or (before is not None and before is not Label.PASS) == self.after_failure)
            and (self.last is None or (attempt == last) == self.last)
            and (self.min_attempt is None or attempt >= self.min_attempt)
            and (self.max_attempt is None or attempt <= self.max_attempt)
        )
