"""The `synthesis` section of a run's configuration."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ecot.config import Config
from ecot.data_mix.config import ObservationRole, PastThinking
from ecot.synthesis.server_config import ServerConfig


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

    max_label_share: ClassVar[float] = 0.6
    """Syntax errors are easily made and would drown the others."""


SET_BY_US = frozenset({"model", "messages", "temperature", "top_p", "max_tokens", "seed", "stream", "n"})
"""Keys of a request that `extra_body` may not hold."""


class EndpointConfig(ServerConfig):
    """A model behind any OpenAI-compatible chat-completions endpoint (vLLM, SGLang, llama.cpp, a provider's API)."""

    type: Literal["openai"]
    temperature: Annotated[float, Field(ge=0)] | None = 1.0
    """Sampling temperature; null sends none, and the server's own holds. So for the other sampling options."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 0.95
    """Nucleus sampling."""
    max_tokens: Annotated[int, Field(ge=1)] | None = 16_384
    """Longest completion, thinking included; null lets the server fill its context."""
    send_seed: bool = True
    """Whether a seed derived from the run's seed, the slot and the turn goes along; some servers refuse the key."""
    observation_role: ObservationRole = ObservationRole.USER
    """Role in which the tools' words reach the model. `tool` needs a server that takes it without a tool call."""
    past_thinking: PastThinking = PastThinking.STRIP
    """Whether the thinking of earlier turns goes back to the model; as at inference: most templates strip it."""
    past_thinking_as: Literal["content", "reasoning_content", "reasoning"] = "content"
    """How kept thinking is sent: inside `<think>` tags in `content`, or in a key of its own. DeepSeek refuses keys."""
    prompt_opens_thinking: bool = False
    """The template ends its prompt with `<think>` and the server does not parse thinking: without `</think>`, all of a
    completion is an unfinished thought."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Passed on in every request as it stands, e.g. `{chat_template_kwargs: {enable_thinking: true}}`."""

    max_label_share: ClassVar[float] = 1.0
    """What the model does wrong is what it does wrong: nothing that was paid for is refused for its label."""

    @field_validator("past_thinking")
    @classmethod
    def _check_past_thinking(cls, value: PastThinking) -> PastThinking:
        if value is PastThinking.EXPAND:
            raise ValueError("past_thinking must be keep or strip here; expand is a way of training only")
        return value

    @field_validator("extra_body")
    @classmethod
    def _check_extra_body(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(SET_BY_US & set(value)):
            raise ValueError(f"extra_body may not hold {', '.join(taken)}; this section's own keys say them")
        if any(re.fullmatch(r"(?i).*(api[-_]?key|authorization|secret|access_token)", key) for key in value):
            raise ValueError("extra_body may hold no key; name its environment variable with api_key_env")
        return value


GeneratorConfig = MechanicalConfig | EndpointConfig
_GENERATORS = ("mechanical", "openai")


class BalanceConfig(Config):
    """What keeps one label from drowning the others."""

    max_label_share: Annotated[float, Field(gt=0, le=1)] | None = None
    """No label has more than this share of the failing attempts of a split; without it the generator decides:
    0.6 for the mechanical one, no limit for an endpoint."""
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
    generator: Annotated[GeneratorConfig, Field(discriminator="type")] = MechanicalConfig()
    """What writes the attempts: `type: mechanical` (fault injection, RTL only) or `type: openai` (a model's server)."""
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

    @property
    def max_label_share(self) -> float:
        """The cap on a label's share of the failing attempts."""
        share = self.balance.max_label_share
        return self.generator.max_label_share if share is None else share

    @field_validator("generator", mode="before")
    @classmethod
    def _name_the_type(cls, value: Any) -> Any:
        """Without a type the generator is the mechanical one."""
        if not isinstance(value, dict):
            return value
        given = value.get("type", "mechanical")
        if given not in _GENERATORS:
            raise ValueError(f"generator.type {given!r} is unknown; known: {', '.join(_GENERATORS)}")
        return {"type": given, **value}

    @model_validator(mode="after")
    def _check(self) -> SynthesisConfig:
        match self.generator:
            case MechanicalConfig(faults=faults) if faults.max > self.max_corrections:
                raise ValueError(
                    f"generator.faults.max ({faults.max}) needs as many corrections, but max_corrections is "
                    f"{self.max_corrections}; raise max_corrections or lower generator.faults.max"
                )
            case EndpointConfig() if unused := sorted(self.balance.model_fields_set - {"max_label_share"}):
                raise ValueError(
                    f"balance.{unused[0]} concerns faults that are injected, and generator.type openai injects none; "
                    "leave it out (balance.max_label_share holds for both)"
                )
        if self.train_trajectories + self.heldout_trajectories == 0:
            raise ValueError("train_trajectories and heldout_trajectories are both 0; nothing to do")
        return self
