"""Rows of the source files, each with its place; a bad row is a value here, not the end of the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ecot.data_mix.config import SourceConfig
from ecot.errors import DataError
from ecot.outcomes import Domain
from ecot.run_paths import RunPaths
from ecot.trajectories import Trajectory, parse_trajectory
from ecot.trajectory_io import SUFFIXES, read_rows


@dataclass(frozen=True)
class Row:
    """One row of a source."""

    place: str
    """File and line (or row)."""
    domain: Domain | None
    """None when the row is too broken to tell."""
    trajectory: Trajectory | None
    """None when the row is refused."""
    reason: str = ""
    """Why it is refused, starting with its place."""


def default_source(paths: RunPaths, name: str) -> SourceConfig | None:
    """The run's own `trajectories/<name>.parquet` or `.jsonl`; None when there is neither."""
    for suffix in reversed(SUFFIXES):
        path = paths.trajectories / f"{name}{suffix}"
        if path.is_file():
            return SourceConfig(path=path)
    return None


def read_source(source: SourceConfig) -> Iterator[Row]:
    """Yield every row of a source that is of its domains, the bad ones as refusals.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    if source.path.suffix == ".jsonl" and source.path.is_file():
        rows = _read_lines(source.path)
    else:
        rows = read_rows(source.path)
    for place, row in rows:
        checked = _check(place, row)
        if not source.domains or checked.domain is None or checked.domain in source.domains:
            yield checked


def read_sources(sources: Sequence[SourceConfig]) -> Iterator[Row]:
    """Rows of all sources in order."""
    for source in sources:
        yield from read_source(source)


def count_rows(path: Path) -> int:
    """Rows of a file, for progress: those of a Parquet file's footer, or the lines of JSONL."""
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows
    with path.open("rb") as handle:
        return sum(1 for _ in handle)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _read_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, row) of each line; a DataError in place of a row that is no JSON object."""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            place = f"{path}:{number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
                yield place, DataError(f"{place}: not a line of JSON ({error})")
                continue
            if not isinstance(row, dict):
                row = DataError(f"{place}: a row must be an object, not {type(row).__name__}")
            yield place, row


def _check(place: str, row: Any) -> Row:
    if isinstance(row, DataError):
        return Row(place, None, None, str(row))
    name = row.get("domain")
    domain = Domain(name) if isinstance(name, str) and name in set(Domain) else None
    try:
        return Row(place, domain, parse_trajectory(row, place))
    except DataError as error:
        return Row(place, domain, None, str(error))
