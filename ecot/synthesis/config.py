"""The `synthesis` section of a run's configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ecot.config import Config


class FaultConfig(Config):
    """How many faults a mechanical trajectory starts from."""

    min: Annotated[int, Field(ge=1, le=5)] = 1
    """Fewest faults in the first attempt."""
    max: Annotated[int, Field(ge=1, le=5)] = 3
    """Most faults in the first attempt; each takes one correction."""
    weights: tuple[float, ...] | None = None
    """Relative frequency of min, min+1 ... max faults; equal without it."""

    @model_validator(mode="after")
    def _check(self) -> FaultConfig:
        if self.max < self.min:
            raise ValueError(f"faults.max ({self.max}) is below faults.min ({self.min}); raise faults.max")
        if self.weights is not None and len(self.weights) != self.max - self.min + 1:
            raise ValueError(f"faults.weights needs {self.max - self.min + 1} numbers, one per count of faults")
        if self.weights is not None and (min(self.weights) < 0 or sum(self.weights) <= 0):
            raise ValueError("faults.weights must not be negative, and one must be positive")
        return self


class MechanicalConfig(Config):
    """The offline generator: faults injected into a reference, undone one per turn."""

    type: Literal["mechanical"] = "mechanical"
    faults: FaultConfig = FaultConfig()
    target_characters: Annotated[int, Field(ge=1000)] = 6500
    """Fewer faults are injected, but at least one, where the conversation would be longer than about this."""
    long_share: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of trajectories that may be longer, so that several corrections in a row are seen on large tasks too."""
    operators: tuple[str, ...] | None = None
    """Fault operators to use, by id; all of them without it."""
    variants: bool = True
    """Vary the reference before faults go in (names of internal signals, order of items, style); always re-executed."""


class BalanceConfig(Config):
    """What keeps one label from drowning the others."""

    max_label_share: Annotated[float, Field(gt=0, le=1)] = 0.6
    """No label has more than this share of the failing attempts of a split."""
    syntax: Annotated[float, Field(ge=0)] = 0.25
    """Relative frequency of faults that break the grammar."""
    elaboration: Annotated[float, Field(ge=0)] = 0.2
    """Relative frequency of faults in names, declarations and connections."""
    behaviour: Annotated[float, Field(ge=0)] = 0.55
    """Relative frequency of faults that compile and behave wrongly."""
    first_pass_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of trajectories whose first attempt passes, so that PASS is seen at attempt 1 too."""

    @model_validator(mode="after")
    def _check(self) -> BalanceConfig:
        if self.syntax + self.elaboration + self.behaviour <= 0:
            raise ValueError("one of balance.syntax, balance.elaboration, balance.behaviour must be positive")
        return self


class SynthesisConfig(Config):
    """Tasks in, trajectories out."""

    tasks: str = "builtin:chip_design"
    """A folder of task bundles, or `builtin:NAME` for bundles that are shipped."""
    backend: str = "icarus"
    """Which backend executes the attempts."""
    backend_options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the backend as they stand."""
    generator: MechanicalConfig = MechanicalConfig()
    """What writes the attempts."""
    max_corrections: Annotated[int, Field(ge=0, le=16)] = 4
    """Corrections after the first attempt, at most (the paper's K is 4)."""
    train_trajectories: Annotated[int, Field(ge=0)] = 400
    """How many to write for training."""
    heldout_trajectories: Annotated[int, Field(ge=0)] = 30
    """How many to write on held-out tasks."""
    heldout_tasks: tuple[str, ...] = ()
    """Tasks that no training trajectory may touch, by id; when empty, a fraction is drawn from the seed."""
    heldout_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Share of the tasks that is held out when `heldout_tasks` is empty; at least one task."""
    format: Literal["parquet", "jsonl"] = "parquet"
    """Format of `train` and `heldout`."""
    concurrency: Annotated[int, Field(ge=1)] = 4
    """Trajectories under way at once; changes the speed, never the result."""
    max_draws: Annotated[float, Field(ge=1)] = 4.0
    """Give up after this many drawn trajectories per wanted one (tasks too small to give that many distinct ones)."""
    balance: BalanceConfig = BalanceConfig()

    @model_validator(mode="after")
    def _check(self) -> SynthesisConfig:
        faults = self.generator.faults
        if faults.max > self.max_corrections:
            raise ValueError(
                f"generator.faults.max ({faults.max}) needs as many corrections, but max_corrections is "
                f"{self.max_corrections}; raise max_corrections or lower generator.faults.max"
            )
        if self.train_trajectories + self.heldout_trajectories == 0:
            raise ValueError("train_trajectories and heldout_trajectories are both 0; nothing to do")
        return self
