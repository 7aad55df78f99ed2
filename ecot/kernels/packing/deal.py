"""Steps of packs that cost the same, so that no rank waits for another.

Packs of one capacity differ in attention cost: one document of 32k tokens costs more than four of 8k. In a synchronous
step all ranks wait for the dearest pack, so packs of similar cost are put into the same step, and the steps are
shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecot.kernels.packing.bins import Bins


@dataclass(frozen=True)
class CostModel:
    """Floating-point operations of training on a document of s tokens: `linear * s + quadratic * s^2`."""

    linear: float
    quadratic: float

    @classmethod
    def of_transformer(cls, num_parameters: float, num_layers: int, attention_width: int) -> CostModel:
        """6 operations per parameter and token, 6 * layers * width per pair of tokens (causal attention, forward and
        backward; Kaplan et al., arXiv 2001.08361, section 2.1, halved for the causal mask).

        Args:
            num_parameters: those in matrix products, the head among them.
            num_layers: attention layers.
            attention_width: query heads * head width.
        """
        return cls(6.0 * num_parameters, 6.0 * num_layers * attention_width)

    def of_packs(self, packs: Bins, lengths: ArrayLike) -> NDArray[np.float64]:
        """[num_packs]: the cost of each pack."""
        sizes = np.asarray(lengths, np.float64)[packs.items]
        return np.add.reduceat(self.linear * sizes + self.quadratic * sizes * sizes, packs.offsets[:-1])


FILLER = -1
"""Stands for a pack without documents, of weight zero, in the last step."""


def deal_by_cost(costs: ArrayLike, packs_per_step: int, *, seed: int, buffer_steps: int = 64) -> NDArray[np.int64]:
    """Steps of packs of similar cost, in random order; depends on nothing but the arguments.

    All packs are shuffled; those of up to `buffer_steps` steps at a time are sorted by cost and cut into steps, which
    are shuffled. So the order stays random at the scale of a buffer, and a step spans 1 / buffer_steps of the costs.
    Packs that do not fill a step come last, with fillers.

    Args:
        costs: [num_packs], in any unit.
        packs_per_step: packs per global step, P.
        seed: of the shuffles.
        buffer_steps: most steps that are sorted together.

    Returns:
        [num_steps, P] pack indices, dearest first within a step: the packs that D ranks run at once, P[r::D], are
        neighbours in cost. `FILLER` at the end of the last step.

    Raises:
        ValueError: `packs_per_step` or `buffer_steps` is not positive.
    """
    if packs_per_step < 1 or buffer_steps < 1:
        raise ValueError(f"packs_per_step is {packs_per_step} and buffer_steps {buffer_steps}; both must be positive")
    dearness = -np.asarray(costs, np.float64)
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(dearness))
    num_full = len(shuffled) // packs_per_step
    edges = np.linspace(0, num_full, max(1, -(-num_full // buffer_steps)) + 1).astype(np.int64) * packs_per_step
    steps = []
    for first, last in pairwise(edges):
        buffer = shuffled[first:last]
        buffer = buffer[np.argsort(dearness[buffer], kind="stable")]
        steps.append(generator.permutation(buffer.reshape(-1, packs_per_step)))
    rest = shuffled[num_full * packs_per_step :]
    if len(rest):
        rest = rest[np.argsort(dearness[rest], kind="stable")]
        steps.append(np.pad(rest, (0, packs_per_step - len(rest)), constant_values=FILLER)[None])
    return np.concatenate(steps) if steps else np.empty((0, packs_per_step), np.int64)


def step_imbalance(costs: ArrayLike, steps: NDArray[np.int64], num_ranks: int) -> float:
    """Time of all steps over the time that even ranks would need: 1 is perfect.

    Each group of `num_ranks` neighbours in a step runs at once and takes as long as its dearest pack. Fillers cost 0.

    Raises:
        ValueError: the packs of a step do not divide by the ranks.
    """
    if steps.shape[1] % num_ranks:
        raise ValueError(f"{steps.shape[1]} packs per step do not divide by {num_ranks} ranks")
    with_filler = np.append(np.asarray(costs, np.float64), 0.0)  # FILLER, -1, finds the 0
    micro_steps = with_filler[steps].reshape(-1, num_ranks)
    return float(micro_steps.max(axis=1).sum() / micro_steps.mean(axis=1).sum())
