"""Near duplicates: rows whose supervised text is nearly an earlier row's, found by MinHash and verified exactly.

One-permutation MinHash over token n-grams (Li, Owen, Zhang 2012, with densification by rotation after Shrivastava and
Li 2014), banded for locality-sensitive hashing; every candidate pair is verified by its exact Jaccard similarity, so
the bands decide only what may be missed. Memory: 128 bytes a row (16 bands of 8).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from ecot.data_mix.config import NearDuplicatesConfig
from ecot.data_mix.filters import Candidate, Reason
from ecot.data_mix.ngrams import mix, ngram_hashes

BINS = 128
BANDS = 16
"""16 bands of 8 bins: a pair of similarity 0.8 is missed with probability 0.05, one of 0.9 with 0.0001."""
MAX_COMPARED = 8
"""Kept rows of one band that a row is compared with: rows that share a band are mostly alike, so few suffice."""


class NearDuplicates:
    """A row filter. All rows are surveyed before the first is judged."""

    def __init__(self, config: NearDuplicatesConfig) -> None:
        self.config = config
        self._keys: list[np.ndarray] = []
        self._groups: np.ndarray | None = None
        self._judged = 0
        self._kept: dict[tuple[int, int], list[Candidate]] = defaultdict(list)

    def survey(self, row: Candidate) -> None:
        """Note the bands of a row."""
        self._keys.append(band_keys(self._shingles(row)))

    def reason_against(self, row: Candidate) -> Reason | None:
        """See `RowFilter`. Rows come in the order in which they were surveyed."""
        if self._groups is None:
            self._groups = shared_bands(np.array(self._keys, np.uint64).reshape(-1, BANDS))
            self._keys = []
        shingles: np.ndarray | None = None
        compared: set[str] = set()
        for band in self._bands(row):
            for other in self._kept[band]:
                if other.line["place"] in compared:
                    continue
                compared.add(other.line["place"])
                shingles = self._shingles(row) if shingles is None else shingles
                if len(shingles) == 0:
                    return None  # too short to be like anything; equal ones are exact duplicates
                similarity = jaccard(shingles, self._shingles(other))
                if similarity >= self.config.threshold:
                    return Reason("near_duplicate", f"similarity {similarity:.3f} to {other.line['place']}")
        return None

    def remember(self, row: Candidate) -> None:
        """See `RowFilter`."""
        for band in self._bands(row):
            if len(self._kept[band]) < MAX_COMPARED:
                self._kept[band].append(row)

    def _bands(self, row: Candidate) -> list[tuple[int, int]]:
        """(band, group) of the bands that the row shares with any other."""
        assert self._groups is not None
        return [(band, group) for band, group in enumerate(self._groups[row.number].tolist()) if group >= 0]

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


def shared_bands(keys: np.ndarray) -> np.ndarray:
    """[rows, BANDS] int32: number of the group of rows with the same key in a band; -1 where a row is alone."""
    groups = np.full(keys.shape, -1, np.int32)
    for band in range(keys.shape[1]):
        _, inverse, counts = np.unique(keys[:, band], return_inverse=True, return_counts=True)
        groups[:, band] = np.where(counts[inverse] > 1, inverse, -1)
    return groups
