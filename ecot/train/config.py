"""The `model` and `train` sections of a run's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ecot.config import Config
from ecot.data_mix.loss_rules import LossRule
from ecot.segments import Kind


class LlamaShape(Config):
    """A Llama-shaped model built with random weights. The defaults are the 32B's (InCoder-32B, table 6)."""

    hidden_size: int = Field(default=5120, ge=8)
    """Width of the residual stream."""
    intermediate_size: int = Field(default=27648, ge=8)
    """Width of the SwiGLU feed-forward layer."""
    num_layers: int = Field(default=64, ge=1)
    """Number of decoder layers."""
    num_heads: int = Field(default=40, ge=1)
    """Number of query heads."""
    num_kv_heads: int = Field(default=8, ge=1)
    """Number of key and value heads."""
    head_dim: int = Field(default=128, ge=2)
    """Width of one head."""
    rope_theta: float = Field(default=500_000.0, gt=0)
    """Base of the rotary embedding."""
    max_position_embeddings: int = Field(default=131_072, ge=16)
    """Longest sequence."""
    tie_embeddings: bool = False
    """Whether the head shares the embedding's weight."""
    initializer_range: float = Field(default=0.02, gt=0)
    """Standard deviation of the random weights."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads ({self.num_kv_heads}); change either"
            )
        return self


class WeightsShape(LlamaShape):
    """The shape that existing weights must have."""

    vocab_size: int = Field(ge=1)
    """Rows of the embedding and of the head."""
    qkv_bias: bool = False
    """Whether queries, keys and values have a bias (Qwen2)."""


class ModelConfig(Config):
    """Which model is trained: weights from a folder, or a fresh Llama-shaped one."""

    path: str | None = None
    """Folder (or hub id) of Hugging Face weights; excludes `shape`."""
    shape: LlamaShape | None = None
    """A model with random weights; excludes `path`."""
    expect: WeightsShape | None = None
    """With `path`: the shape that its weights must have. `ecot preflight` refuses others, and estimates with it where
    the weights are not at hand."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type of the weights in forward and backward. The optimizer's master weights are always float32."""
    attention: str = "ecot_varlen"
    """Name of the attention implementation; it must keep packed documents apart."""
    pad_vocabulary_to: int = Field(default=64, ge=1)
    """The vocabulary of a fresh model, or of one that grows, is rounded up to a multiple of this."""
    max_new_tokens: int = Field(default=64, ge=0)
    """How many tokens the tokenizer may have beyond the rows of existing weights, which grow then. More than a few mean
    that the tokenizer is another model's."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.shape is None):
            raise ValueError("set exactly one of model.path (existing weights) and model.shape (random weights)")
        if self.expect is not None and self.path is None:
            raise ValueError("model.expect says what weights at model.path look like; model.shape needs none")
        return self


class ScheduleConfig(Config):
    """Learning rate as a function of the plan step, given in tokens so that it does not depend on the batch size."""

    type: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    """Shape after the warm-up; `wsd` is warm-up, stable, linear decay."""
    warmup_tokens: int = Field(default=0, ge=0)
    """Linear warm-up from 0."""
    decay_tokens: int = Field(default=0, ge=0)
    """Length of the final decay; for `wsd` only."""
    min_ratio: float = Field(default=0.1, ge=0, le=1)
    """Final learning rate as a share of the peak."""

    @model_validator(mode="after")
    def _decay_belongs_to_wsd(self) -> Self:
        if (self.decay_tokens > 0) != (self.type == "wsd"):
            raise ValueError("schedule.decay_tokens must be set for type wsd, and for no other")
        return self


class LossConfig(Config):
    """Weight of a token's loss by the kind of the token that is predicted."""

    thinking: float = Field(default=1.0, ge=0)
    """Weight of thinking."""
    answer: float = Field(default=1.0, ge=0)
    """Weight of answers, the end of the turn included."""
    observation: float = Field(default=0.0, ge=0)
    """Weight of what the tools said; 0 for the code model."""
    rules: tuple[LossRule, ...] = ()
    """Refinements by attempt, label and verdict: factors on the weights of the tokens that they match."""
    impl: Literal["ecot", "liger", "trl", "torch"] = "ecot"
    """Whose loss runs at the head; the others are there to compare with."""
    z_loss: float = Field(default=0.0, ge=0)
    """Coefficient of the squared logsumexp of the logits."""
    monitor_observations: bool = True
    """Report the loss on observations also where their weight is 0 (their forward pass of the head is paid)."""
    workspace_bytes: int = Field(default=2**30, ge=2**16)
    """Largest buffer of logits that the loss may hold at once."""

    @property
    def by_kind(self) -> dict[Kind, float]:
        """The weights as `ecot.data_mix.loss_weights.LossWeights` takes them."""
        return {Kind.THINKING: self.thinking, Kind.ANSWER: self.answer, Kind.OBSERVATION: self.observation}

    @model_validator(mode="after")
    def _peers_have_the_option(self) -> Self:
        if self.z_loss and self.impl == "trl":
            raise ValueError("loss.z_loss is not offered by impl: trl; use impl: ecot, torch or liger, or z_loss: 0")
        return self

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        if self.thinking == self.answer == self.observation == 0:
            raise ValueError("all loss weights are 0, so nothing would be trained; set one of them above 0")
        return self


class CheckpointConfig(Config):
    """When the state of the run is saved. Milestones are saved besides and never rotated away."""

    every_steps: int = Field(default=200, ge=1)
    """Steps between checkpoints."""
    keep: int = Field(default=2, ge=1)
    """How many of them are kept."""
    upload: str | None = None
    """Command that copies a finished checkpoint elsewhere, run in the background on the first rank, for example
    `rclone copy {path} remote:run/{name}`; or `python:module:function`, called with the path. A failure is told and
    tried again at the next start; training goes on."""


class MilestoneConfig(Config):
    """What happens at milestones besides their checkpoints. Where they lie is said by `data.budgets`."""

    decay_tokens: int = Field(default=0, ge=0)
    """Each milestone but the last branches a decay of so many tokens (whole steps), so that a stable `wsd` run gives a
    finished model per budget; the last milestone ends with the schedule's own decay. 0: no branches."""


class HeldoutConfig(Config):
    """Loss on held-out documents (`data.heldout`) while training; `ecot eval` scores all of them at every milestone."""

    every_steps: int = Field(default=0, ge=0)
    """Steps between scorings, besides those at milestones; 0: none at all."""
    max_documents: int = Field(default=256, ge=1)
    """Documents scored each time, from the beginning of the store."""


class ZeroConfig(Config):
    """DeepSpeed ZeRO stage 3."""

    offload_optimizer: bool = False
    """Keep the optimizer's state in host memory."""
    offload_parameters: bool = False
    """Keep the parameters in host memory."""
    overlap_communication: bool = True
    """Reduce gradients while backward goes on."""
    bucket_elements: int = Field(default=200_000_000, ge=1024)
    """Size of the reduction and prefetch buckets."""


class TrackingConfig(Config):
    """Weights & Biases. A JSONL of the same figures is always written."""

    wandb: bool = True
    """Log to wandb; offline when no key is set."""
    project: str = "ecot"
    """The wandb project."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """How long the first rank tries to reach wandb; then it logs offline, for `wandb sync` later."""
    peak_flops: float | None = Field(default=None, gt=0)
    """FLOP/s of one GPU that MFU is relative to; the data sheet's dense bf16 peak of the GPU at hand when absent."""


class TrainConfig(Config):
    """The SFT run."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak learning rate."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """AdamW's moments."""
    epsilon: float = Field(default=1e-8, gt=0)
    """AdamW's denominator term."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay; norms and biases are spared."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradient clipping by the global norm."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Learning rate over the run."""
    loss: LossConfig = LossConfig()
    """Weights per segment kind."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Saving."""
    milestones: MilestoneConfig = MilestoneConfig()
    """Branches at milestones."""
    heldout: HeldoutConfig = HeldoutConfig()
    """Held-out loss during the run."""
    zero: ZeroConfig = ZeroConfig()
    """Sharding."""
    tracking: TrackingConfig = TrackingConfig()
    """Logging."""
    layout: Literal["packed", "padded"] = "packed"
    """`padded` gives each document of a pack a row of its own: slow, and the same loss, to check attention by."""
    expand: Literal["auto", "host", "device"] = "auto"
    """Where a pack's rows (positions, labels, weights) are made from its table of spans; `auto`: on a CUDA device with
    the packing kernels, otherwise on the host. The results are equal to the bit."""
    activation_checkpointing: bool = True
    """Recompute activations in backward."""
    sequence_ranks: int = Field(default=1, ge=1)
    """Ranks that share each pack (DeepSpeed Ulysses): their activations shrink, the packs of a step go to fewer data
    ranks. It must divide the number of ranks and suit the heads of the model; the loss does not depend on it."""
    max_skipped: int = Field(default=10, ge=0)
    """Steps with a gradient that is not finite that a run may skip before it stops."""
    watchdog_seconds: float = Field(default=3600.0, ge=0)
    """A rank without a step for so long ends with its stacks on standard error; 0 switches it off."""
    log_every: int = Field(default=10, ge=1)
    """Steps between logged rows."""
    local_ranks: int = Field(default=0, ge=0)
    """Ranks that `ecot train` starts on this machine when no launcher did; 0: one per GPU, or 1 without."""
    local_copy: Path | None = None
    """Folder on each node's own disk with copies of the run's `store` and `plan` and of the weights (`model`), made by
    `ecot train --copy-only`; each is read there instead where it is found."""
    loader_workers: int = Field(default=1, ge=0)
    """Processes per rank that collate packs."""

    @model_validator(mode="after")
    def _sequence_ranks_share_packs(self) -> Self:
        if self.sequence_ranks > 1 and self.layout != "packed":
            raise ValueError(
                f"layout: {self.layout} cannot be split over sequence_ranks: {self.sequence_ranks}; set layout: packed "
                "or sequence_ranks: 1"
            )
        return self

    @model_validator(mode="after")
    def _branches_leave_a_stable_rate(self) -> Self:
        if self.milestones.decay_tokens and self.schedule.type != "wsd":
            raise ValueError(
                f"milestones.decay_tokens needs a stable rate to branch off from: set schedule.type: wsd (it is "
                f"{self.schedule.type}), or milestones.decay_tokens: 0"
            )
        return self
