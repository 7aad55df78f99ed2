"""How the ranks of a run share its packs: data ranks take different packs, sequence ranks stretches of the same one."""

from __future__ import annotations

from dataclasses import dataclass

from ecot.errors import ConfigError
from ecot.train.config import ModelConfig

_ATTENTION = "ecot_varlen"
"""Our implementations, the only ones that run across ranks, begin with this name (`ecot.kernels.attention`)."""


@dataclass(frozen=True)
class RankLayout:
    """The ranks of a run. Those of a sequence group are neighbours, so that they share a node where it is large enough.

    `find_layout` makes one that fits.
    """

    world_size: int
    sequence_ranks: int
    """Ranks that share a pack."""
    packs_per_step: int

    @property
    def data_ranks(self) -> int:
        """Groups of ranks that work on different packs."""
        return self.world_size // self.sequence_ranks

    @property
    def accumulation(self) -> int:
        """Packs that each data rank works off in a step."""
        return self.packs_per_step // self.data_ranks

    def data_rank(self, rank: int) -> int:
        """Which packs a rank takes: `data_rank::data_ranks` of a step's."""
        return rank // self.sequence_ranks

    def sequence_rank(self, rank: int) -> int:
        """Which stretch of them it takes."""
        return rank % self.sequence_ranks

    def crosses_nodes(self, gpus_per_node: int) -> bool:
        """Whether some sequence group has ranks on two nodes."""
        return self.world_size > gpus_per_node and gpus_per_node % self.sequence_ranks > 0

    def __str__(self) -> str:
        return (
            f"{_count(self.packs_per_step, 'pack')} a step = {_count(self.data_ranks, 'data rank')} x "
            f"{self.accumulation} accumulated, {_count(self.sequence_ranks, 'sequence rank')} each"
        )


def find_layout(world_size: int, sequence_ranks: int, packs_per_step: int, pack_tokens: int) -> RankLayout:
    """The layout of so many ranks.

    Args:
        world_size: all ranks.
        sequence_ranks: `train.sequence_ranks`.
        packs_per_step: of the plan.
        pack_tokens: of the plan, to name the remedy.

    Raises:
        ConfigError: the ranks do not divide by the sequence ranks, or the packs of a step by the data ranks.
    """
    if world_size % sequence_ranks:
        raise ConfigError(
            f"{world_size} ranks do not divide into groups of train.sequence_ranks: {sequence_ranks}; set it to one of "
            f"{_listed(_divisors(world_size))}, or start a multiple of {sequence_ranks} ranks"
        )
    layout = RankLayout(world_size, sequence_ranks, packs_per_step)
    data_ranks = layout.data_ranks
    if packs_per_step % data_ranks:
        near = sorted(sorted(_divisors(packs_per_step), key=lambda n: abs(n - data_ranks))[:4])
        longer = [n for n in _divisors(world_size) if n > sequence_ranks and packs_per_step % (world_size // n) == 0]
        raise ConfigError(
            f"{packs_per_step} packs a step do not divide by {data_ranks} data ranks ({world_size} ranks, "
            f"train.sequence_ranks: {sequence_ranks}); use {_listed([n * sequence_ranks for n in near])} ranks, or a "
            f"data.packing.global_batch_tokens that is a multiple of {data_ranks * pack_tokens:,}"
            + (f", or train.sequence_ranks: {longer[0]}" if longer else "")
        )
    return layout


def check_heads(heads: int, kv_heads: int, sequence_ranks: int) -> None:
    """Refuse sequence ranks that cannot share the heads.

    Each rank attends with as many query heads. A key and value head goes to one rank, or, where there are fewer of them
    than ranks, to as many ranks each.

    Raises:
        ConfigError: names the numbers that can.
    """
    allowed = [n for n in _divisors(heads) if kv_heads % n == 0 or n % kv_heads == 0]
    if sequence_ranks not in allowed:
        raise ConfigError(
            f"train.sequence_ranks: {sequence_ranks} cannot share {heads} query and {kv_heads} key and value heads; "
            f"allowed for this model: {_listed(allowed)}"
        )


def check_model(model: ModelConfig, sequence_ranks: int) -> None:
    """What the section itself says against running across ranks.

    Raises:
        ConfigError: heads that the ranks cannot share, or an attention that knows nothing of them.
    """
    if sequence_ranks > 1 and not model.attention.startswith(_ATTENTION):
        raise ConfigError(
            f"model.attention: {model.attention} does not run across train.sequence_ranks: {sequence_ranks} ranks; use "
            f"{_ATTENTION}, or train.sequence_ranks: 1"
        )
    shape = model.shape or model.expect
    if shape is not None:
        check_heads(shape.num_heads, shape.num_kv_heads, sequence_ranks)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
