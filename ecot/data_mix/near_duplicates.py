"""Near duplicates: rows whose supervised text is nearly an earlier row's, found by MinHash and verified exactly.

One-permutation MinHash over token n-grams (Li, Owen, Zhang 2012, with densification by rotation after Shrivastava and
Li 2014), banded for locality-sensitive hashing; every candidate pair is verified by its exact Jaccard similarity, so
the bands decide only what may be missed. Made for millions of rows: bands, their groups and the rows kept of each lie
in files without a name (128 + 64 bytes a row, and 32 a group); memory holds 24 bytes a row, and 40 while one band is
sorted.
"""

from __future__ import annotations

import tempfile
from array import array
from pathlib import Path

import numpy as np

from ecot.data_mix.filter_config import NearDuplicatesConfig
from ecot.data_mix.filters import Candidate, Reason
from ecot.data_mix.ngrams import mix, ngram_hashes
from ecot.data_mix.store import ShardFiles

BINS = 128
BANDS = 16
"""16 bands of 8 bins: a pair of similarity 0.8 is missed with probability 0.05, one of 0.9 with 0.0001."""
MAX_COMPARED = 8
"""Kept rows of one band that a row is compared with: rows that share a band are mostly alike, so few suffice."""


class NearDuplicates:
    """A row filter. All rows are surveyed before the first is judged.

    Args:
        config: the `near_duplicates` section.
        scratch: a folder with room for 200 bytes a row.
    """

    def __init__(self, config: NearDuplicatesConfig, scratch: Path) -> None:
        self.config = config
        self.scratch = scratch
        self._keys = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 (it lives as long as the filter)
        self._shards: list[ShardFiles] = []
        self._rows = array("l")
        """Shard, first document and number of documents of each row, one after the other."""
        self._groups: np.ndarray | None = None
        self._kept = np.empty((0, MAX_COMPARED), np.int32)

    def survey(self, row: Candidate) -> None:
        """Note the bands of a row."""
        if not self._shards or self._shards[-1] is not row.shard:
            self._shards.append(row.shard)
        self._rows.extend((len(self._shards) - 1, row.first, row.line["documents"]))
        self._keys.write(band_keys(self._shingles(row)).tobytes())

    def reason_against(self, row: Candidate) -> Reason | None:
        """See `RowFilter`. Rows come in the order in which they were surveyed."""
        if self._groups is None:
            self._groups, self._kept = self._band()
        shingles: np.ndarray | None = None
        compared: set[int] = set()
        for group in self._groups_of(row):
            for number in self._kept[group].tolist():
                if number < 0 or number in compared:
                    continue
                compared.add(number)
                shingles = self._shingles(row) if shingles is None else shingles
                if len(shingles) == 0:
                    return None  # too short to be like anything; equal ones are exact duplicates
                other = self._candidate(number)
                similarity = jaccard(shingles, self._shingles(other))
                if similarity >= self.config.threshold:
                    place = other.shard.details_of(other.first).place
                    return Reason("near_duplicate", f"similarity {similarity:.3f} to {place}")
        return None

    def remember(self, row: Candidate) -> None:
        """See `RowFilter`."""
        for group in self._groups_of(row):
            free = np.nonzero(self._kept[group] < 0)[0]
            if len(free):
                self._kept[group, free[0]] = row.number

    def _groups_of(self, row: Candidate) -> list[int]:
        """Groups of the bands that the row shares with any other."""
        assert self._groups is not None
        return [group for group in self._groups[:, row.number].tolist() if group >= 0]

    def _band(self) -> tuple[np.ndarray, np.ndarray]:
        """[BANDS, rows] int32 groups, numbered through all bands; [groups, MAX_COMPARED] int32 rows kept of each."""
        rows = len(self._rows) // 3
        self._keys.flush()
        keys = np.memmap(self._keys, np.uint64, "r", shape=(rows, BANDS)) if rows else np.empty((0, BANDS), np.uint64)
        groups = self._array((BANDS, rows))
        total = 0
        for band in range(BANDS):
            numbers, count = groups_of(np.ascontiguousarray(keys[:, band]))
            groups[band] = np.where(numbers >= 0, numbers + total, -1)
            total += count
        self._keys.close()
        kept = self._array((total, MAX_COMPARED))
        kept[:] = -1
        return groups, kept

    def _array(self, shape: tuple[int, int]) -> np.ndarray:
        """int32 on disk, in a file that is gone with the array."""
        if 0 in shape:
            return np.empty(shape, np.int32)
        with tempfile.TemporaryFile(dir=self.scratch) as file:
            return np.memmap(file, np.int32, "w+", shape=shape)

    def _candidate(self, number: int) -> Candidate:
        shard, first, documents = self._rows[3 * number : 3 * number + 3]
        return Candidate({"documents": documents}, self._shards[shard], first, number)

    def _shingles(self, row: Candidate) -> np.ndarray:
        return np.unique(ngram_hashes(row.supervised_ids(), self.config.ngram))


def jaccard(left: np.ndarray, right: np.ndarray) -> float:
    """Size of the intersection / size of the union of two sorted arrays of distinct values; 1 for two empty ones."""
    shared = len(np.intersect1d(left, right, assume_unique=True))
    union = len(left) + len(right) - shared
    return shared / union if union else 1.0


def band_keys(shingles: np.ndarray) -> np.ndarray:
    """[BANDS] uint64: rows with an equal key in any band are candidates. All distinct for an empty row."""
    bins = np.full(BINS, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(bins, (shingles >> np.uint64(57)).astype(np.int64), shingles)
    filled = np.nonzero(bins != np.iinfo(np.uint64).max)[0]
    if len(filled) == 0:
        return np.zeros(BANDS, np.uint64)
    # An empty bin takes the next filled one, marked with the distance, so that equal sets still have equal bins.
    source = filled[np.searchsorted(filled, np.arange(BINS)) % len(filled)]
    distance = ((source - np.arange(BINS)) % BINS).astype(np.uint64)
    dense = mix(bins[source] + distance)
    keys = np.zeros(BANDS, np.uint64)
    for column in dense.reshape(BANDS, -1).T:
        keys = mix(keys * np.uint64(31) + column)
    return keys


def groups_of(keys: np.ndarray) -> tuple[np.ndarray, int]:
    """[rows] int32: number of the group of rows with the same key, -1 where a row is alone; and how many groups."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    shared = counts > 1
    numbers = np.where(shared, np.cumsum(shared) - 1, -1).astype(np.int32)
    return numbers[inverse], int(shared.sum())
