"""Documents to packs (best-fit decreasing) and packs to steps of equal cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecot.kernels.packing.bins import best_fit_decreasing as best_fit_bins

DOMAIN_WINDOWS = (8, 16, 32, 64, 128, 256)
"""Steps of neighbouring cost among which packs are dealt by domain: the more, the nearer each step comes to the mixture
and the less even its packs are. Wider ones are tried until steps are near enough, at last all steps together."""


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
    costs: Sequence[float],
    packs_per_step: int,
    seed: Sequence[int],
    domains: Sequence[int] | None = None,
    max_domain_deviation: float = 0.1,
) -> list[list[int]]:
    """Group packs of similar cost into steps, in seeded order.

    With several domains, the packs of some steps of similar cost are dealt so that each of these steps gets packs of
    all domains: of as few steps as `max_domain_deviation` allows. Within a step the dearest comes first, so that packs
    which run at the same time on different ranks cost alike. The cheapest packs make up the last step when they do not
    divide evenly.

    Args:
        costs: cost of each pack.
        packs_per_step: P.
        seed: decides the order of the full steps.
        domains: domain index that most tokens of each pack belong to.
        max_domain_deviation: how far a step's shares of packs may be from those of all, on average over steps.

    Returns:
        Steps as lists of pack indices; all but the last are full.
    """
    cost = np.asarray(costs, np.float64)
    dearest_first = np.argsort(-cost, kind="stable")
    num_full = len(cost) // packs_per_step
    full, rest = dearest_first[: num_full * packs_per_step], dearest_first[num_full * packs_per_step :]
    steps = full.reshape(num_full, packs_per_step)
    if domains is not None and len(set(domains)) > 1 and num_full > 1:
        for window in [*(size for size in DOMAIN_WINDOWS if size < num_full), num_full]:
            mixed = _mix_domains(steps, window, cost, np.asarray(domains))
            if _domain_deviation(mixed, np.asarray(domains)) <= max_domain_deviation:
                break
        steps = mixed
    order = np.random.default_rng(list(seed)).permutation(num_full)
    return steps[order].tolist() + ([rest.tolist()] if len(rest) else [])


def _domain_deviation(steps: np.ndarray, domains: np.ndarray) -> float:
    """The largest difference between a domain's share of a step's packs and of all, on average over steps."""
    shares = np.stack([(domains[steps] == domain).mean(axis=1) for domain in np.unique(domains)], axis=1)
    return float(np.abs(shares - shares.mean(axis=0)).max(axis=1).mean())


def _mix_domains(steps: np.ndarray, window: int, cost: np.ndarray, domains: np.ndarray) -> np.ndarray:
    """[steps, P] the same packs; within each window of steps every step gets its share of each domain and cost."""
    mixed = []
    for begin in range(0, len(steps), window):
        packs = steps[begin : begin + window]
        by_domain = packs.reshape(-1)[np.argsort(domains[packs.reshape(-1)], kind="stable")]
        columns = by_domain.reshape(packs.shape[1], len(packs)).T
        mixed.append(np.take_along_axis(columns, np.lexsort((columns, -cost[columns])), axis=1))
    return np.concatenate(mixed)
