"""Documents to packs (best-fit decreasing) and packs to steps of equal cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecot.kernels.packing.bins import best_fit_decreasing as best_fit_bins

DOMAIN_WINDOW = 8
"""Steps among which packs are dealt by domain: their costs are neighbours, so a few steps cost little balance."""


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> list[list[int]]:
    """Pack documents, longest first, each into the open pack that it fills best (`ecot.kernels.packing.bins`).

    Equal lengths keep their order, and of packs of equal space the one that got it last is used first.

    Args:
        lengths: [n] tokens of each document, each in 1..capacity.
        capacity: tokens of a pack.

    Returns:
        Packs as lists of indices into `lengths`, in order of opening.

    Raises:
        ValueError: a length is not in 1..capacity.
    """
    bins = best_fit_bins(lengths, capacity)
    return [bins[index].tolist() for index in range(bins.num_bins)]


def pack_together(lengths: np.ndarray, trajectories: np.ndarray, capacity: int) -> list[np.ndarray]:
    """Best-fit decreasing, with neighbours of one trajectory in one pack as far as they fit.

    Args:
        lengths: [n] tokens of each document, each in 1..capacity.
        trajectories: [n] documents with the same number, one after the other, belong together.
        capacity: tokens of a pack.

    Returns:
        Packs as arrays of indices into `lengths`, in order of opening.
    """
    starts = _chunk_starts(lengths, trajectories, capacity)
    sizes = np.diff(np.append(starts, len(lengths)))
    bins = best_fit_bins(np.add.reduceat(lengths, starts), capacity)
    chunk_sizes = sizes[bins.items]
    inside = np.arange(len(lengths)) - np.repeat(np.cumsum(chunk_sizes) - chunk_sizes, chunk_sizes)
    items = np.repeat(starts[bins.items], chunk_sizes) + inside
    ends = np.cumsum(chunk_sizes)[bins.offsets[1:] - 1]
    return np.split(items, ends[:-1])


def _chunk_starts(lengths: np.ndarray, trajectories: np.ndarray, capacity: int) -> np.ndarray:
    """Where chunks of documents begin that belong together and fit into a pack."""
    new = np.append(True, trajectories[1:] != trajectories[:-1])
    if new.all():
        return np.arange(len(lengths))
    starts, held = [], 0
    for index, (length, begins) in enumerate(zip(lengths.tolist(), new.tolist(), strict=True)):
        if begins or held + length > capacity:
            starts.append(index)
            held = 0
        held += length
    return np.array(starts, np.int64)


def document_costs(lengths: np.ndarray, crossover: int) -> np.ndarray:
    """[n] float64 cost of each document in token units: linear in its tokens plus quadratic in them, for attention.

    A document of `crossover` tokens costs as much in attention as in everything else. A pack costs what its documents
    do.
    """
    sizes = lengths.astype(np.float64)
    return sizes + sizes**2 / crossover


def deal_steps(
    costs: Sequence[float], packs_per_step: int, seed: Sequence[int], domains: Sequence[int] | None = None
) -> list[list[int]]:
    """Group packs of similar cost into steps, in seeded order.

    With several domains, the packs of `DOMAIN_WINDOW` steps of similar cost are dealt so that each of these steps gets
    packs of all domains. Within a step the dearest comes first, so that packs which run at the same time on different
    ranks cost alike. The cheapest packs make up the last step when they do not divide evenly.

    Args:
        costs: cost of each pack.
        packs_per_step: P.
        seed: decides the order of the full steps.
        domains: domain index that most tokens of each pack belong to.

    Returns:
        Steps as lists of pack indices; all but the last are full.
    """
    dearest_first = np.argsort(-np.asarray(costs), kind="stable")
    num_full = len(costs) // packs_per_step
    window = DOMAIN_WINDOW if domains is not None and len(set(domains)) > 1 else 1
    steps: list[list[int]] = []
    for begin in range(0, num_full, window):
        size = min(window, num_full - begin)
        packs = dearest_first[begin * packs_per_step : (begin + size) * packs_per_step]
        if domains is not None and size > 1:
            by_domain = packs[np.argsort(np.asarray(domains)[packs], kind="stable")]
            columns = by_domain.reshape(packs_per_step, size).T
            steps += [sorted(column.tolist(), key=lambda pack: (-costs[pack], pack)) for column in columns]
        else:
            steps += [packs[start : start + packs_per_step].tolist() for start in range(0, len(packs), packs_per_step)]
    order = np.random.default_rng(list(seed)).permutation(num_full).tolist()
    rest = dearest_first[num_full * packs_per_step :].tolist()
    return [steps[index] for index in order] + ([rest] if rest else [])
