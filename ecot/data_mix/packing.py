"""Documents to packs (best-fit decreasing) and packs to steps of equal cost."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> list[list[int]]:
    """Pack documents, longest first, each into the open pack that it fills best.

    Ties go to the lower document index, and among packs of equal space to the one opened last.

    Args:
        lengths: [n] tokens of each document, each in 1..capacity.
        capacity: tokens of a pack.

    Returns:
        Packs as lists of indices into `lengths`, in order of opening.
    """
    assert len(lengths) == 0 or (lengths.min() > 0 and lengths.max() <= capacity)
    packs: list[list[int]] = []
    by_space: dict[int, list[int]] = {}
    spaces: list[int] = []  # the distinct spaces left, ascending: at most `capacity` of them, whatever n is
    for index in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[index])
        place = bisect_left(spaces, length)
        if place == len(spaces):
            pack, space = len(packs), capacity
            packs.append([])
        else:
            space = spaces[place]
            open_packs = by_space[space]
            pack = open_packs.pop()
            if not open_packs:
                del by_space[space]
                spaces.pop(place)
        packs[pack].append(index)
        left = space - length
        if left:
            if left not in by_space:
                by_space[left] = []
                spaces.insert(bisect_left(spaces, left), left)
            by_space[left].append(pack)
    return packs


def pack_cost(lengths: np.ndarray, crossover: int) -> float:
    """Cost of a pack in token units: linear in its tokens plus quadratic in each document.

    A document of `crossover` tokens costs as much in attention as in everything else.
    """
    lengths = lengths.astype(np.float64)
    return float(lengths.sum() + (lengths**2).sum() / crossover)


def deal_steps(costs: Sequence[float], packs_per_step: int, seed: Sequence[int]) -> list[list[int]]:
    """Group packs of similar cost into steps, in seeded order.

    Within a step the dearest comes first, so that packs which run at the same time on different ranks cost alike. The
    cheapest packs make up the last step when they do not divide evenly.

    Args:
        costs: cost of each pack.
        packs_per_step: P.
        seed: decides the order of the full steps.

    Returns:
        Steps as lists of pack indices; all but the last are full.
    """
    dearest_first = np.argsort(-np.asarray(costs), kind="stable").tolist()
    steps = [dearest_first[start : start + packs_per_step] for start in range(0, len(costs), packs_per_step)]
    full = steps[:-1] if steps and len(steps[-1]) < packs_per_step else steps
    order = np.random.default_rng(list(seed)).permutation(len(full)).tolist()
    return [full[index] for index in order] + steps[len(full) :]
