"""Leaves out rows that hold a benchmark's prompts or references, told by runs of words and signs that they share.

Each text is seen two ways: as its words and signs, and as code without its comments.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ecot.data_mix.filter_config import DecontaminationConfig
from ecot.data_mix.filters import Candidate, Reason
from ecot.data_mix.ngrams import code_items, lexical_items, ngram_hashes
from ecot.errors import DataError
from ecot.trajectory_io import read_rows

_OVERLAP = 8
"""Tokens of a document's shared beginning that are read again per word of an n-gram: words have fewer."""
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
        texts = list(benchmark_texts(config.benchmarks))
        self._views = [_View(texts, items, config.ngram) for items in (lexical_items, code_items)]
        if not self._views[0].names:
            raise DataError(
                f"data.filters.decontaminate.benchmarks: no text of at least {config.ngram} words in "
                f"{', '.join(map(str, config.benchmarks))}"
            )

    def reason_against(self, row: Candidate) -> Reason | None:
        """See `RowFilter`."""
        texts = [self.decode(ids.tolist()) for ids in row.fresh_ids(_OVERLAP * self.config.ngram)]
        for view in self._views:
            share, name = view.largest_share(texts)
            if share >= self.config.min_share:
                return Reason("contaminated", f"holds {share:.0%} of {name}")
        return None

    def remember(self, row: Candidate) -> None:
        """See `RowFilter`."""


class _View:
    """The n-grams of all texts of the benchmarks, seen one way.

    Args:
        texts: (name, text) of each.
        items: a text to the items whose runs are looked for.
        ngram: how many items a run has.
    """

    def __init__(self, texts: Sequence[tuple[str, str]], items: Callable[[str], np.ndarray], ngram: int) -> None:
        self.items = items
        self.ngram = ngram
        self.names: list[str] = []
        self.sizes: list[int] = []
        holders: dict[int, list[int]] = defaultdict(list)
        for name, text in texts:
            hashes = self.hashes(text)
            if len(hashes):
                for value in hashes.tolist():
                    holders[value].append(len(self.names))
                self.names.append(name)
                self.sizes.append(len(hashes))
        self._holders = dict(holders)
        self._hashes = np.array(sorted(holders), np.uint64)

    def hashes(self, text: str) -> np.ndarray:
        """[n] uint64: the different n-grams of a text."""
        return np.unique(ngram_hashes(self.items(text), self.ngram))

    def largest_share(self, texts: Sequence[str]) -> tuple[float, str]:
        """The largest share of a benchmark's text that some texts hold together, and which that is."""
        found = np.unique(np.concatenate([self.hashes(text) for text in texts]))
        hits = found[np.isin(found, self._hashes, assume_unique=True)]
        per_text = Counter(holder for value in hits.tolist() for holder in self._holders[value])
        shares = ((count / self.sizes[holder], -holder) for holder, count in per_text.items())
        share, holder = max(shares, default=(0.0, 0))
        return share, self.names[-holder] if share else ""


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
