"""Leaves out rows that hold a benchmark's prompts or references, told by runs of words and signs that they share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ecot.data_mix.config import DecontaminationConfig
from ecot.data_mix.filters import Candidate, Reason
from ecot.data_mix.ngrams import lexical_items, ngram_hashes
from ecot.errors import DataError
from ecot.trajectory_io import read_rows

MAX_FILE_BYTES = 1 << 20
"""Larger files of a folder are no prompts or references."""


class Decontamination:
    """A row filter.

    Args:
        config: the `decontaminate` section.
        decode: token ids to text.

    Raises:
        DataError: a benchmark cannot be read, or holds nothing to look for.
    """

    def __init__(self, config: DecontaminationConfig, decode: Callable[[Sequence[int]], str]) -> None:
        self.config = config
        self.decode = decode
        self.names: list[str] = []
        self.sizes: list[int] = []
        items: dict[int, list[int]] = defaultdict(list)
        for name, text in benchmark_texts(config.benchmarks):
            hashes = np.unique(ngram_hashes(lexical_items(text), config.ngram)).tolist()
            if hashes:
                for value in hashes:
                    items[value].append(len(self.names))
                self.names.append(name)
                self.sizes.append(len(hashes))
        if not self.names:
            raise DataError(
                f"data.filters.decontaminate.benchmarks: no text of at least {config.ngram} words in "
                f"{', '.join(map(str, config.benchmarks))}"
            )
        self._items = dict(items)
        self._hashes = np.array(sorted(items), np.uint64)

    def reason_against(self, row: Candidate) -> Reason | None:
        """See `RowFilter`."""
        found = ngram_hashes(lexical_items(self.decode(row.ids().tolist())), self.config.ngram)
        hits = found[np.isin(found, self._hashes)]
        if len(hits) == 0:
            return None
        per_item = Counter(item for value in np.unique(hits).tolist() for item in self._items[value])
        item, count = max(per_item.items(), key=lambda pair: (pair[1] / self.sizes[pair[0]], -pair[0]))
        share = count / self.sizes[item]
        if share < self.config.min_share:
            return None
        return Reason("contaminated", f"holds {share:.0%} of {self.names[item]}")

    def remember(self, row: Candidate) -> None:
        """See `RowFilter`."""


def benchmark_texts(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """(name, text) of every prompt, reference or other text of some benchmarks.

    A JSONL or Parquet file gives every string in its rows, however deep; a folder gives its files, searched through.

    Raises:
        DataError: a path does not exist or cannot be read.
    """
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    yield from _file_texts(file)
        elif path.is_file() and path.suffix in (".jsonl", ".parquet"):
            for place, row in _rows(path):
                for field, text in _strings(row, ""):
                    yield f"{place}{field}", text
        elif path.is_file():
            yield str(path), path.read_text("utf-8", "replace")
        else:
            raise DataError(f"data.filters.decontaminate.benchmarks: {path} does not exist")


def _file_texts(file: Path) -> Iterator[tuple[str, str]]:
    if file.suffix in (".jsonl", ".parquet"):
        yield from benchmark_texts([file])
    elif file.stat().st_size <= MAX_FILE_BYTES:
        try:
            yield str(file), file.read_text("utf-8")
        except UnicodeDecodeError:
            return  # a binary file holds no text to find


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix == ".parquet":
        for number, row in enumerate(pq.read_table(path).to_pylist(), start=1):
            yield f"{path}:row {number}", row
        return
    yield from read_rows(path)


def _strings(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _strings(entry, f"{field}.{key}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _strings(entry, f"{field}.{index}")
