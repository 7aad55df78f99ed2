"""The `eval` section of a run: on what a trained model is judged, and how it writes."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ecot.config import Config


class EvalConfig(Config):
    """Loss on held-out documents, and the model's own completions of held-out tasks, executed."""

    tasks: str | None = None
    """Where the tasks of the held-out trajectories are found: a folder of bundles or a `builtin:` name; those of the
    `synthesis` section when absent."""
    backend: str | None = None
    """Which backend executes the completions; that of the `synthesis` section when absent."""
    backend_options: dict[str, Any] = Field(default_factory=dict)
    """Passed to `backend` as they stand."""
    num_tasks: int | None = Field(default=None, ge=1)
    """Use only so many held-out tasks, in the order of their ids; all when absent."""
    samples: int = Field(default=1, ge=1)
    """Completions per task."""
    pass_at: tuple[int, ...] = (1,)
    """Which k of pass@k are estimated; none above `samples`."""
    temperature: float = Field(default=0.0, ge=0)
    """0 takes the likeliest token each time (greedy)."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample among the likeliest tokens that hold this much probability together."""
    seed: int = Field(default=0, ge=0)
    """Of the sampling. A completion depends on it, its task and its number, not on the batch it is drawn in."""
    max_new_tokens: int = Field(default=1024, ge=1)
    """A completion that has not ended by then is cut off."""
    max_corrections: int = Field(default=0, ge=0)
    """0: one attempt. Otherwise the model sees the outcome and may revise so many times, as in synthesis."""
    batch_size: int = Field(default=16, ge=1)
    """Completions written at once: more are faster and take more memory."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; `auto` takes a GPU when there is one."""

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.temperature == 0 and self.samples > 1:
            raise ValueError(
                f"samples is {self.samples} but at temperature 0 all would be the same; set temperature, or samples: 1"
            )
        if self.temperature == 0 and self.top_p < 1:
            raise ValueError("top_p has no effect at temperature 0; set temperature above 0, or leave top_p away")
        return self

    @model_validator(mode="after")
    def _options_of_a_backend(self) -> Self:
        if self.backend is None and self.backend_options:
            raise ValueError("backend_options are given without a backend; name the backend too")
        return self

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        wrong = [k for k in self.pass_at if not 1 <= k <= self.samples]
        if wrong or not self.pass_at:
            raise ValueError(f"pass_at must list values from 1 to samples ({self.samples}); given: {self.pass_at}")
        return self
