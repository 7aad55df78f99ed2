"""Trajectories on disk: JSONL or Parquet, one row each, read with a place for every complaint."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ecot.errors import DataError
from ecot.trajectories import Trajectory, parse_trajectory

SUFFIXES = (".jsonl", ".parquet")
_GROUP_ROWS = 1024
"""Rows written to Parquet at once."""

_MESSAGE = pa.struct(
    [("role", pa.string()), ("content", pa.string()), ("reasoning_content", pa.string()), ("kind", pa.string())]
)
_ATTEMPT = pa.struct(
    [
        ("message_index", pa.int32()),
        ("code", pa.string()),
        ("stage", pa.string()),
        ("label", pa.string()),
        ("subcode", pa.string()),
        ("diagnostics", pa.string()),
        ("metrics", pa.string()),
        ("seconds", pa.float64()),
        ("source", pa.string()),
        ("confidence", pa.float64()),
        ("fingerprint", pa.string()),
    ]
)
_PROVENANCE = pa.struct(
    [("generator", pa.string()), ("instruction", pa.string()), ("seed", pa.int64()), ("details", pa.string())]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("task_id", pa.string()),
        ("task_hash", pa.string()),
        ("domain", pa.string()),
        ("verdict", pa.string()),
        ("taxonomy_version", pa.string()),
        ("messages", pa.list_(_MESSAGE)),
        ("attempts", pa.list_(_ATTEMPT)),
        ("provenance", _PROVENANCE),
    ]
)
"""The Parquet schema. Open mappings (metrics, provenance details) are JSON text, since their keys vary by row."""


def write_trajectories(path: Path, trajectories: Iterable[Trajectory]) -> int:
    """Write a file whose suffix says the format; complete or absent (temporary name, fsync, rename).

    Returns:
        The number of rows.

    Raises:
        DataError: the suffix is neither `.jsonl` nor `.parquet`.
    """
    _check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    rows = (trajectory.to_row() for trajectory in trajectories)
    write = _write_jsonl if path.suffix == ".jsonl" else _write_parquet
    count = write(temporary, rows)
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    return count


def _write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """In groups of rows: 100,000 long conversations as one table would take their memory three times over."""
    count = 0
    with pq.ParquetWriter(path, SCHEMA) as writer:
        remaining = iter(rows)
        while group := [_pack(row) for row in islice(remaining, _GROUP_ROWS)]:
            writer.write_table(pa.Table.from_pylist(group, SCHEMA))
            count += len(group)
    return count


def read_trajectories(path: Path) -> Iterator[Trajectory]:
    """Yield the rows of a JSONL or Parquet file, each validated.

    Raises:
        DataError: the file or a row is malformed; the message names file, line (or row), field and reason.
    """
    for place, row in read_rows(path):
        yield parse_trajectory(row, place)


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, raw row) for each row of a file, before validation of its fields."""
    _check_suffix(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix == ".jsonl":
        yield from _read_jsonl(path)
        return
    try:
        table = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a Parquet file ({error}); was it written completely?") from error
    number = 0
    for batch in table.iter_batches(batch_size=256):
        for row in batch.to_pylist():
            number += 1
            place = f"{path}:row {number}"
            yield place, _unpack(row, place)


def _read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            place = f"{path}:{number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                raise DataError(f"{place}: not a line of JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f"{place}: a row must be an object, not {type(row).__name__}")
            yield place, row


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: unknown suffix {path.suffix!r}; allowed: {', '.join(SUFFIXES)}")


def _pack(row: dict[str, Any]) -> dict[str, Any]:
    attempts = [dict(attempt, metrics=json.dumps(attempt["metrics"])) for attempt in row["attempts"]]
    provenance = dict(row["provenance"], details=json.dumps(row["provenance"]["details"]))
    return dict(row, attempts=attempts, provenance=provenance)


def _unpack(row: dict[str, Any], place: str) -> dict[str, Any]:
    try:
        for attempt in row["attempts"]:
            attempt["metrics"] = json.loads(attempt["metrics"])
        row["provenance"]["details"] = json.loads(row["provenance"]["details"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{place}: not in the trajectory schema ({error!r}); see ecot.trajectory_io.SCHEMA, or write JSONL"
        ) from error
    return row
