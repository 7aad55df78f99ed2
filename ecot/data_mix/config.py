"""The `data` section of a run: sources, tokenizer, rendering, filters, budgets and packing."""

from __future__ import annotations

import itertools
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from ecot.config import Config
from ecot.data_mix.filter_config import FilterConfig, ThoughtsConfig
from ecot.outcomes import Domain


class TemplateChoice(StrEnum):
    """Whose chat template renders the conversations."""

    BASE = "base"
    """The tokenizer's own."""
    SHIPPED = "shipped"
    """ChatML of this package, which keeps thinking and every turn; it travels with the export."""


class ObservationRole(StrEnum):
    """The role under which feedback of tools reaches the model."""

    USER = "user"
    TOOL = "tool"


class PastThinking(StrEnum):
    """What becomes of the thinking of turns before the last one."""

    KEEP = "keep"
    """It stays: the template must render it."""
    STRIP = "strip"
    """The template removes it, as at inference; only thoughts that are still there are trained."""
    EXPAND = "expand"
    """One document per assistant turn, exactly as inference sees it; only its last turn is supervised."""


class Form(StrEnum):
    """How a trajectory is laid out as a conversation."""

    MULTI_TURN = "multi_turn"
    """As it happened: an assistant turn per attempt, an observation after each."""
    FOLDED = "folded"
    """One assistant turn whose thinking narrates all attempts and observations."""


class OverLong(StrEnum):
    """What becomes of a trajectory longer than a pack."""

    CUT_TURNS = "cut_turns"
    """Its last turns are left out until it fits."""
    DROP = "drop"
    """It is left out."""
    SPLIT = "split"
    """It becomes several documents of whole turns; a later one shows the opening and the turn before as context."""


class Count(StrEnum):
    """Which tokens a budget counts."""

    ALL = "all"
    SUPERVISED = "supervised"
    THINKING = "thinking"


class SourceFormat(StrEnum):
    """How rows are laid out."""

    AUTO = "auto"
    """Told from the keys of each row."""
    TRAJECTORY = "trajectory"
    """The schema of this package."""
    MESSAGES = "messages"
    """`messages` with `role` and `content`; thinking in a field of its own or in `<think>` tags; tool calls."""
    SHAREGPT = "sharegpt"
    """`conversations` with `from` and `value`."""
    PROMPT_COMPLETION = "prompt_completion"
    """`prompt` (or `instruction`, `question`) and `completion` (or `response`, `output`, `answer`)."""


class HubConfig(Config):
    """A data set of the Hugging Face hub, fetched once into the run's folder."""

    id: str = Field(min_length=1)
    """`owner/name`, or a local folder that is laid out like one."""
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    """The commit, 40 hexadecimal digits: a branch moves, and the run could not be repeated."""
    subset: str | None = None
    """Which of its configurations; needed where it has several."""
    split: str = "train"
    """Which of its splits."""


class SourceConfig(Config):
    """Trajectories, or conversations that become some; exactly one of `path` and `hub`."""

    path: Path = Path()
    """JSONL, Parquet, a folder of such files, or one written by `Dataset.save_to_disk`; one conversation a row."""
    hub: HubConfig | None = None
    """A data set of the hub in place of a path."""
    split: str | None = None
    """Which split of a folder that holds several."""
    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    """What the mixture calls it; several may share a name. The file's name without its suffix by default."""
    format: SourceFormat = SourceFormat.AUTO
    """How the rows are laid out."""
    domains: tuple[Domain, ...] = ()
    """Take rows of these domains only; all when empty."""
    domain: Domain | None = None
    """The domain of rows that name none; `general` when absent."""
    user_feedback: bool = False
    """In formats other than `trajectory`, a user turn after an assistant's is an observation."""

    @property
    def label(self) -> str:
        """Its name, given or by default."""
        return self.name or (self.hub.id.rpartition("/")[2] if self.hub else self.path.stem)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.hub is None) == (self.path == Path()):
            raise ValueError("give either path (a file or folder) or hub (a section), not both or none")
        return self


class TrainTokenizerConfig(Config):
    """A byte-level BPE tokenizer trained on the run's own training trajectories."""

    vocab_size: int = Field(default=4096, ge=512)
    """Size of the vocabulary, the 256 bytes and the special tokens included."""
    min_frequency: int = Field(default=2, ge=1)
    """A pair of tokens seen less often than this is not merged."""


class TokenizerConfig(Config):
    """Where the tokenizer comes from: exactly one of the two."""

    path: Path | None = None
    """A folder with a fast tokenizer in Hugging Face format."""
    train: TrainTokenizerConfig | None = None
    """Train one on the run's training trajectories."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.path is None) == (self.train is None):
            raise ValueError("give either tokenizer.path (a folder) or tokenizer.train (a section), not both or none")
        return self


class BudgetConfig(Config):
    """One token budget; its documents are a prefix of those of the next larger one."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    """Names the milestone: letters, digits, `.`, `_` and `-`."""
    tokens: int = Field(gt=0)
    """Tokens of the kinds that `count` says, padding never among them."""


class SourceShare(Config):
    """How much is taken of one source; a bare number is its weight."""

    weight: float | None = Field(default=None, ge=0)
    """Share of tokens, in any unit; 0 leaves the source out. With one for any source, all need one."""
    max_epochs: float | None = Field(default=None, gt=0)
    """How often its documents may be taken; `mixture.max_epochs` when absent."""
    max_tokens: int | None = Field(default=None, gt=0)
    """Use at most so many tokens of its documents, before any upsampling."""

    @model_validator(mode="before")
    @classmethod
    def _bare_weight(cls, value: Any) -> Any:
        return {"weight": value} if isinstance(value, int | float) else value


class MixtureConfig(Config):
    """Shares of domains and sources. By default each has the share of tokens that it has in the data."""

    weights: dict[Domain, float] = Field(default_factory=dict)
    """Share of tokens per domain, in any unit; every domain with data must be named, 0 leaves it out."""
    sources: dict[str, SourceShare] = Field(default_factory=dict)
    """By the source's name. Weights here come first: the weights of the domains, or their tokens, then say how a source
    is shared among its domains. Without any, the sources of a domain share what it has by their tokens."""
    temperature: float = Field(default=1.0, ge=1)
    """Without weights of domains, their shares are proportional to tokens ** (1 / temperature): above 1, small ones get
    more."""
    max_epochs: float = Field(default=1.0, gt=0)
    """How often a document may be taken, in a new order each time; what the mixture needs beyond that is missing."""
    max_tokens: dict[Domain, int] = Field(default_factory=dict)
    """Use at most so many tokens of a domain's documents, before any upsampling."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.weights and self.temperature != 1:
            raise ValueError("mixture: weights fix the shares, so temperature has no effect; leave one of them out")
        if any(weight < 0 for weight in self.weights.values()) or (self.weights and not any(self.weights.values())):
            raise ValueError("mixture.weights: must be 0 or more, and one of them more than 0")
        given = [source.weight for source in self.sources.values() if source.weight is not None]
        if given and not any(given):
            raise ValueError("mixture.sources: one of the weights must be more than 0")
        if any(tokens <= 0 for tokens in self.max_tokens.values()):
            raise ValueError("mixture.max_tokens: must be more than 0; set the domain's weight to 0 to leave it out")
        return self


class PackingConfig(Config):
    """How documents become packs and packs become steps."""

    pack_tokens: int = Field(gt=0)
    """Capacity of one pack in tokens; no document is longer."""
    global_batch_tokens: int = Field(gt=0)
    """Capacity of one optimizer step over all ranks; a multiple of `pack_tokens`."""
    attention_crossover: int = Field(default=99_000, gt=0)
    """Document length in tokens at which attention costs as much as everything linear in the length: parameters /
    (layers x attention width). 99,000 for the 32B of the paper; only the balance of steps depends on it."""

    max_domain_deviation: float = Field(default=0.1, gt=0, le=1)
    """How far a step's domain shares may be from the plan's, on average over steps. Where domains differ in length,
    packs of equal cost are of equal domains: steps near the mixture then cost balance (1: the most even steps)."""

    @model_validator(mode="after")
    def _whole_packs(self) -> Self:
        if self.global_batch_tokens % self.pack_tokens:
            below = max(1, self.global_batch_tokens // self.pack_tokens) * self.pack_tokens
            raise ValueError(
                f"global_batch_tokens ({self.global_batch_tokens}) must be a multiple of pack_tokens "
                f"({self.pack_tokens}); the nearest are {below} and {below + self.pack_tokens}"
            )
        return self

    @property
    def packs_per_step(self) -> int:
        """P: packs in one optimizer step, over all ranks and accumulation."""
        return self.global_batch_tokens // self.pack_tokens


class DataConfig(Config):
    """From trajectories to a plan of packs."""

    sources: tuple[SourceConfig, ...] = ()
    """Training trajectories; the run's own `trajectories/train.parquet` (or `.jsonl`) when empty."""
    heldout: SourceConfig | None = None
    """Held-out trajectories; the run's own `trajectories/heldout.parquet` (or `.jsonl`) when absent."""
    tokenizer: TokenizerConfig
    template: TemplateChoice = TemplateChoice.SHIPPED
    """Whose chat template renders the conversations; `shipped` travels with the export."""
    observation_role: ObservationRole = ObservationRole.TOOL
    """The role of tool feedback, the same for the engine, training and evaluation."""
    form: Form = Form.MULTI_TURN
    """Whether attempts are turns of their own or folded into one thought."""
    past_thinking: PastThinking = PastThinking.KEEP
    """Whether thinking of earlier turns stays in the context."""
    over_long: OverLong = OverLong.CUT_TURNS
    """What becomes of trajectories longer than `packing.pack_tokens`."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that tokenise, each with one thread; 0 for this process alone with threads. As many as there are cores
    for large sources when absent, otherwise 0."""
    max_lost: float = Field(default=0.05, ge=0, le=1)
    """Stop when over-long trajectories lose more than this share of the supervised tokens."""
    max_refused: float = Field(default=0.01, ge=0, le=1)
    """Stop when more than this share of the rows is refused (see `refused.jsonl` in the store)."""
    thoughts: ThoughtsConfig = ThoughtsConfig()
    """What is taken out of thoughts; each pattern is counted in rows and tokens."""
    filters: FilterConfig = FilterConfig()
    budgets: tuple[BudgetConfig, ...] = Field(min_length=1)
    """Nested budgets, in ascending order; each ends at a milestone."""
    mixture: MixtureConfig = MixtureConfig()
    """Shares of the domains in every budget."""
    count: Count = Count.ALL
    """Which tokens a budget counts."""
    packing: PackingConfig

    @model_validator(mode="after")
    def _ascending_budgets(self) -> Self:
        names = [budget.name for budget in self.budgets]
        if len(set(names)) < len(names):
            raise ValueError(f"budgets: names must differ, given: {', '.join(names)}")
        tokens = [budget.tokens for budget in self.budgets]
        if any(later <= earlier for earlier, later in itertools.pairwise(tokens)):
            raise ValueError(f"budgets: tokens must ascend, since each is a prefix of the next; given: {tokens}")
        return self

    @model_validator(mode="after")
    def _known_sources(self) -> Self:
        names = {source.label for source in self.sources} or {"train"}
        unknown = sorted(set(self.mixture.sources) - names)
        if unknown:
            raise ValueError(f"mixture.sources: no source is called {', '.join(unknown)}; they are {sorted(names)}")
        return self

    @model_validator(mode="after")
    def _folded_is_one_turn(self) -> Self:
        if self.form is Form.FOLDED and self.past_thinking is not PastThinking.KEEP:
            raise ValueError(f"form: folded leaves no earlier turns for past_thinking: {self.past_thinking}; set keep")
        if self.form is Form.FOLDED and self.over_long is not OverLong.DROP:
            raise ValueError(
                "form: folded puts all attempts into one thought, and a thought is never cut; set over_long: drop"
            )
        return self

    @model_validator(mode="after")
    def _own_tokenizer_needs_the_shipped_template(self) -> Self:
        if self.tokenizer.train is not None and self.template is TemplateChoice.BASE:
            raise ValueError(
                "template: base needs a tokenizer with a chat template of its own, and one trained by the run has "
                "none; set template: shipped, or give tokenizer.path"
            )
        return self
