"""The configuration of a run: one YAML whose sections belong to the rooms. Nothing heavy is imported to read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import Field, model_validator

from ecot.config import Config, load_config
from ecot.data_mix.config import DataConfig, Form
from ecot.errors import ConfigError
from ecot.eval.config import EvalConfig
from ecot.run_paths import RunPaths
from ecot.synthesis.config import SynthesisConfig
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.layout import check_model
from ecot.world_model.config import WorldModelConfig

SectionT = TypeVar("SectionT")


class RunConfig(Config):
    """One run. A verb needs only its own sections."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    """Names the run and its folder."""
    run_dir: Path | None = None
    """Where everything of the run lies; `runs/<name>` when absent."""
    seed: int = Field(default=0, ge=0)
    """The one seed: synthesis, document order, pack order, random weights."""
    synthesis: SynthesisConfig | None = None
    """`ecot synth`: tasks to trajectories."""
    data: DataConfig | None = None
    """`ecot plan`, `ecot preview`: trajectories to a plan of packs."""
    model: ModelConfig | None = None
    """`ecot train`: what is trained."""
    train: TrainConfig = TrainConfig()
    """`ecot train`: how."""
    eval: EvalConfig = EvalConfig()
    """`ecot eval`: on what."""
    world_model: WorldModelConfig | None = None
    """`ecot icwm`: what a world model learns from and is held against."""

    @model_validator(mode="before")
    @classmethod
    def _narrated_observations_are_trained(cls, values: Any) -> Any:
        """In the folded form the model writes observations itself, so they weigh 1 unless the run says otherwise."""
        data = values.get("data") if isinstance(values, dict) else None
        if not isinstance(data, dict) or data.get("form") != Form.FOLDED:
            return values
        train = values.get("train") or {}
        loss = train.get("loss") or {} if isinstance(train, dict) else None
        if not isinstance(loss, dict):
            return values
        return {**values, "train": {**train, "loss": {"observation": 1.0, **loss}}}

    @model_validator(mode="after")
    def _sequence_ranks_suit_the_model(self) -> Self:
        if self.model is not None:
            check_model(self.model, self.train.sequence_ranks)
        return self

    @property
    def paths(self) -> RunPaths:
        """The layout of the run's folder."""
        return RunPaths(self.run_dir or Path("runs") / self.name)


def load_run_config(path: Path, overrides: Sequence[str]) -> RunConfig:
    """Read and validate a run's YAML with `key=value` overrides.

    Raises:
        ConfigError: as `ecot.config.load_config` says.
    """
    return load_config(RunConfig, path, overrides)


def require(section: SectionT | None, name: str, path: Path) -> SectionT:
    """The section, which the verb cannot do without.

    Raises:
        ConfigError: it is missing.
    """
    if section is None:
        raise ConfigError(f"{path}: this command needs a section {name!r}; configs/demo.yaml has one to start from")
    return section
