"""Best-fit-decreasing bin packing of document lengths, in bulk.

Documents are placed longest first, each into the fullest bin that it fits (Johnson 1974; for packing sequences,
arXiv 2404.10830). Written per document this needs a compiled loop. But documents of one length come one after the
other, and bins of equal free space are alike: if s is the smallest free space that fits the length, a bin of space s
takes s // length of them in a row before any other bin is looked at. So one step places a whole run of documents into
all bins of one space, and a million documents take some hundred thousand steps of plain Python, with the very result of
the loop per document.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Bins:
    """Which documents share a bin, as one flat list and its offsets."""

    items: NDArray[np.int64]
    """[n]: document indices, bin by bin, longest first within a bin."""
    offsets: NDArray[np.int64]
    """[num_bins + 1]: where each bin begins in `items`."""

    @property
    def num_bins(self) -> int:
        """Number of bins, none of them empty."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        """The documents of one bin."""
        if not -self.num_bins <= index < self.num_bins:
            raise IndexError(f"bin {index} of {self.num_bins}")
        index %= self.num_bins
        return self.items[self.offsets[index] : self.offsets[index + 1]]

    def fill(self, lengths: ArrayLike) -> NDArray[np.int64]:
        """[num_bins]: tokens in each bin."""
        return np.add.reduceat(np.asarray(lengths, np.int64)[self.items], self.offsets[:-1])


def volume_bound(lengths: ArrayLike, capacity: int) -> int:
    """No packing needs fewer bins than this: ceil(sum of lengths / capacity)."""
    return -(-int(np.sum(np.asarray(lengths), dtype=np.int64)) // capacity)


def best_fit_decreasing(lengths: ArrayLike, capacity: int) -> Bins:
    """Pack documents into bins of `capacity` tokens.

    Equal lengths keep their order; of bins of equal space the one that got it last is used first. The result depends on
    nothing else. Bins are numbered as they are opened, so long documents come first: shuffle them before training.

    Args:
        lengths: [n] integers in 1..capacity, tokens per document.
        capacity: tokens per bin.

    Raises:
        ValueError: a length is not in 1..capacity; says which.
    """
    sizes = np.asarray(lengths, np.int64)
    if sizes.size == 0:
        return Bins(np.empty(0, np.int64), np.zeros(1, np.int64))
    wrong = np.flatnonzero((sizes < 1) | (sizes > capacity))
    if len(wrong):
        raise ValueError(
            f"document {wrong[0]} has {sizes[wrong[0]]} tokens and bins hold 1 to {capacity}; cut or drop such "
            f"documents first ({len(wrong)} in all)"
        )
    order = _stable_order(capacity - sizes, capacity)
    counts = np.bincount(sizes)
    distinct = np.flatnonzero(counts)[::-1]
    runs = zip(distinct.tolist(), counts[distinct].tolist(), strict=True)
    used, steps, num_bins = _place(runs, capacity)
    needed, each, last = np.array(steps, np.int64).T
    placed = np.repeat(each, needed)
    placed[np.cumsum(needed) - 1] = last
    bin_of = np.repeat(np.array(used, np.int64), placed)
    by_bin = _stable_order(bin_of, num_bins)
    offsets = np.zeros(num_bins + 1, np.int64)
    np.cumsum(np.bincount(bin_of, minlength=num_bins), out=offsets[1:])
    return Bins(order[by_bin], offsets)


def _stable_order(keys: NDArray[np.int64], largest: int) -> NDArray[np.int64]:
    """Stable argsort of keys in 0..largest; numpy sorts 16-bit keys by radix, ten times as fast."""
    if largest < 1 << 16:
        return np.argsort(keys.astype(np.uint16), kind="stable")
    low = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")
    if largest >= 1 << 32:
        return np.argsort(keys, kind="stable")
    return low[np.argsort((keys >> 16).astype(np.uint16)[low], kind="stable")]


def _place(runs: Iterable[tuple[int, int]], capacity: int) -> tuple[list[int], list[tuple[int, int, int]], int]:
    """Place runs of equal documents, all that fit into bins of one space at a time.

    Args:
        runs: (length, count), by falling length.
        capacity: tokens per bin.

    Returns:
        The bins in the order in which they are used; for each step how many bins it uses, how many documents each of
        them takes, and how many the last one takes; and the number of bins.
    """
    with_space: list[list[int]] = [[] for _ in range(capacity + 1)]
    fitting: list[int] = []  # spaces >= length that some bin has, the smallest last
    smallest_seen = capacity
    all_used: list[int] = []
    steps: list[tuple[int, int, int]] = []
    num_bins = 0
    for length, count in runs:
        fitting += [space for space in range(smallest_seen - 1, length - 1, -1) if with_space[space]]
        smallest_seen = length
        while count:
            space = fitting[-1] if fitting else capacity
            each = space // length
            needed = -(-count // each)
            if not fitting:
                used = list(range(num_bins, num_bins + needed))
                num_bins += needed
            elif needed < len(with_space[space]):
                used = with_space[space][: -needed - 1 : -1]
                del with_space[space][-needed:]
            else:
                used = with_space[space][::-1]
                needed = len(used)
                with_space[space].clear()
                fitting.pop()
            last = min(each, count - (needed - 1) * each)
            all_used += used
            steps.append((needed, each, last))
            count -= (needed - 1) * each + last
            if last == each:
                with_space[space - each * length] += used
                continue
            # The documents are at an end; the last bin has room for more of them, and no other so little that fits.
            with_space[space - each * length] += used[:-1]
            left = space - last * length
            with_space[left].append(used[-1])
            fitting.append(left)
    return all_used, steps, num_bins
