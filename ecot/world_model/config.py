"""The `world_model` section of a run: which executions it learns from, how it is judged, and how it is audited."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ecot.config import Config
from ecot.synthesis.server_config import ServerConfig


class AuditConfig(Config):
    """Which predicted outcomes are executed for real afterwards."""

    every_pass: bool = True
    """Execute each predicted PASS that ends a trajectory: a false one is what does harm."""
    random_share: float = Field(default=0.05, gt=0, le=1)
    """Share of all predicted turns drawn at random; these alone estimate the accuracy."""
    low_confidence_share: float = Field(default=0.05, ge=0, le=1)
    """Share of all predicted turns, those of the lowest confidence: where corrections are likeliest."""
    baseline: float | None = Field(default=None, gt=0, lt=1)
    """Accuracy that the test of drift holds every domain against; when absent, the lower end of what the last
    `ecot icwm evaluate` found for each."""


class EndpointOptions(ServerConfig):
    """A server that runs the world model; it must tell the log-probabilities of a prompt's tokens, as vLLM does."""

    requests_at_once: int = Field(default=64, ge=1)
    """Requests under way at once; each verdict of a candidate is one."""


class WorldModelConfig(Config):
    """A world model in place of the tools."""

    trajectories: tuple[Path, ...] = Field(min_length=1)
    """JSONL or Parquet files whose real executions are learnt from; predicted ones in them are left out."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """Where their tasks are found: folders of bundles or `builtin:` names."""
    heldout_fraction: float = Field(default=0.15, gt=0, lt=1)
    """Share of each domain's tasks that is held out, with all executions on them; at least one task."""
    calibration_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of each domain's tasks on which confidences and thresholds are fitted; at least one task."""
    heldout_tasks: tuple[str, ...] = ()
    """Tasks to hold out, by id; when empty they are drawn from the seed."""
    max_heldout_turns: int = Field(default=2000, ge=1)
    """Executions to predict per domain at most, drawn from the seed (the paper holds out 2,000 per domain)."""
    environment_characters: int = Field(default=24_000, ge=1000)
    """What of specification, files and settings is shown; the longest files are cut, and the text says so."""
    show_hidden: bool = True
    """Show testbenches and checkers too: the tool reads them, and nothing here is shown to the code model."""
    milestone: str | None = None
    """Which export predicts; the last one when absent."""
    target_accuracy: float = Field(default=0.95, gt=0, lt=1)
    """A prediction stands in for a tool only where the calibration tasks show this accuracy."""
    max_new_tokens: int = Field(default=384, ge=1)
    """Longest diagnostics."""
    batch_size: int = Field(default=16, ge=1)
    """Candidates predicted at once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; `auto` takes a GPU when there is one."""
    endpoint: EndpointOptions | None = None
    """Predict through a server that runs the export; in this process when absent."""
    backend: str = "real"
    """Which tools audits ask, and uncertain predictions fall back to."""
    backend_options: dict[str, Any] = Field(default_factory=dict)
    """Passed to `backend` as they stand."""
    audit: AuditConfig = AuditConfig()
    """What `ecot icwm audit` executes."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.heldout_fraction + self.calibration_fraction >= 1:
            raise ValueError("heldout_fraction and calibration_fraction leave no task to learn from; lower them")
        return self
