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


def pack_cost(lengths: np.ndarray, crossover: int) -> float:
    """Cost of a pack in token units: linear in its tokens plus quadratic in each document.

    A document of `crossover` tokens costs as much in attention as in everything else.
    """
    lengths = lengths.astype(np.float64)
    return float(lengths.sum() + (lengths**2).sum() / crossover)


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
