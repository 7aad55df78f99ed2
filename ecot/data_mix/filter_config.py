"""The parts of the `data` section that leave out rows or shorten thoughts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ecot.config import Config
from ecot.outcomes import Domain, Label


class NearDuplicatesConfig(Config):
    """What counts as nearly the same."""

    threshold: float = Field(default=0.85, gt=0, le=1)
    """Jaccard similarity of the n-grams of supervised tokens from which a later row is left out."""
    ngram: int = Field(default=8, ge=1)
    """Tokens of an n-gram."""


class DecontaminationConfig(Config):
    """Which benchmarks must not be trained on."""

    benchmarks: tuple[Path, ...] = Field(min_length=1)
    """JSONL or Parquet files (all their texts count) or folders of text files."""
    ngram: int = Field(default=13, ge=2)
    """Words and signs of an n-gram; white space and capitals make no difference."""
    min_share: float = Field(default=0.3, gt=0, le=1)
    """A row that holds this share of the n-grams of any one text of a benchmark is left out. Texts of one benchmark
    share phrases with each other and with honest data, so a single n-gram is no proof."""


class ThoughtPattern(Config):
    """Something to take out of thoughts."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    """For the account."""
    pattern: str
    """A regular expression of Python's `re`; flags stand inside it, for example `(?im)`."""
    replacement: str = ""
    """What stands in its place; may name groups."""

    @model_validator(mode="after")
    def _is_a_pattern(self) -> Self:
        try:
            compiled = re.compile(self.pattern)
            if compiled.search("") is not None:
                raise ValueError(f"pattern {self.name}: matches the empty text, so it would match everywhere")
            if self.replacement:
                compiled.sub(self.replacement, "")
        except re.error as error:
            raise ValueError(f"pattern {self.name}: no regular expression ({error})") from error
        return self


class ThoughtsConfig(Config):
    """Boilerplate and filler that thoughts are rid of before they are rendered."""

    shipped: bool = False
    """Use the patterns of this package: courtesies, talk of being a model, stacked filler words, repeated lines."""
    remove: tuple[ThoughtPattern, ...] = ()
    """More patterns, applied in order."""


class FilterConfig(Config):
    """What is left out before budgets are made, each counted in rows and tokens."""

    exact_duplicates: bool = True
    """Leave out a trajectory whose normalised text and code equal an earlier one's."""
    verdicts: tuple[Label, ...] = ()
    """Keep trajectories whose last attempt has one of these labels; all when empty."""
    with_labels: tuple[Label, ...] = ()
    """Keep trajectories with an attempt of at least one of these labels; all when empty."""
    without_labels: tuple[Label, ...] = ()
    """Leave out trajectories with an attempt of any of these labels."""
    domain_tokens: dict[Domain, int] = Field(default_factory=dict)
    """Keep at most so many tokens of a domain; which rows, their content decides."""
    min_tokens: int = Field(default=0, ge=0)
    """Leave out trajectories of fewer tokens."""
    max_tokens: int | None = Field(default=None, gt=0)
    """Leave out trajectories of more tokens (those longer than a pack are `over_long`)."""
    near_duplicates: NearDuplicatesConfig | None = None
    """Leave out trajectories whose supervised text is nearly an earlier one's; off when absent."""
    decontaminate: DecontaminationConfig | None = None
    """Leave out trajectories that hold texts of benchmarks; off when absent."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        both = sorted(set(self.with_labels) & set(self.without_labels))
        if both:
            raise ValueError(f"with_labels and without_labels both name {', '.join(both)}; nothing could have it")
        if self.max_tokens is not None and self.max_tokens < self.min_tokens:
            raise ValueError(
                f"max_tokens ({self.max_tokens}) is below min_tokens ({self.min_tokens}); nothing would stay"
            )
        if any(tokens <= 0 for tokens in self.domain_tokens.values()):
            raise ValueError("domain_tokens: must be more than 0; name the other domains in the sources instead")
        return self
