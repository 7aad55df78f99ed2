"""Source files in parts that any process can turn into rows; a bad row is a value here, not the end of the run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ecot.data_mix.config import SourceConfig, SourceFormat
from ecot.data_mix.converters import convert, detect_format
from ecot.data_mix.source_files import dataset_batches, dataset_rows, source_files
from ecot.errors import DataError
from ecot.outcomes import Domain
from ecot.run_paths import RunPaths
from ecot.trajectories import Role, Trajectory, parse_trajectory
from ecot.trajectory_io import SUFFIXES

PART_ROWS = 1024
PART_BYTES = 64 << 20
"""A part ends at so many rows or bytes, whichever comes first: bounds the memory of one process."""
MAX_ROW_BYTES = 16 << 20
"""Longer lines are refused: no trajectory is a fraction of that, and one such line could fill the memory."""


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


@dataclass(frozen=True)
class Part:
    """Consecutive rows of one source, still raw: cheap to cut off and to send to another process."""

    source: SourceConfig
    file: Path
    """Where they stand; a folder for a data set that `datasets` wrote."""
    first: int
    """Number of the first line (JSONL) or row, counted from 1."""
    lines: tuple[bytes, ...] = ()
    """JSONL lines; an empty one has no row."""
    table: pa.RecordBatch | None = None
    """The rows of any other format."""

    @property
    def num_rows(self) -> int:
        """Lines or rows, empty lines included."""
        return len(self.lines) if self.table is None else self.table.num_rows

    def rows(self) -> Iterator[Row]:
        """The rows of the source's domains, the bad ones as refusals."""
        for place, raw in self.raw():
            row = _check(place, raw, self.source)
            if not self.source.domains or row.domain is None or row.domain in self.source.domains:
                yield row

    def raw(self) -> Iterator[tuple[str, Any]]:
        """(place, row); a DataError in place of a row that is no JSON object."""
        if self.table is not None:
            for number in range(self.table.num_rows):
                place = f"{self.file}:row {self.first + number}"
                try:
                    yield place, self.table.slice(number, 1).to_pylist()[0]
                except UnicodeDecodeError as error:
                    yield place, DataError(f"{place}: a text is not UTF-8 ({error})")
            return
        for number, line in enumerate(self.lines, start=self.first):
            if line.strip():
                place = f"{self.file}:{number}"
                yield place, _parse_line(place, line)


def default_source(paths: RunPaths, name: str) -> SourceConfig | None:
    """The run's own `trajectories/<name>.parquet` or `.jsonl`; None when there is neither."""
    for suffix in reversed(SUFFIXES):
        path = paths.trajectories / f"{name}{suffix}"
        if path.is_file():
            return SourceConfig(path=path)
    return None


def read_parts(source: SourceConfig, part_rows: int = PART_ROWS) -> Iterator[Part]:
    """Cut a source into parts.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    for file in source_files(source.path):
        if file.is_dir():
            with _reading(file):
                yield from _read_batches(source, file, dataset_batches(file, source.split, part_rows))
        elif file.suffix == ".jsonl":
            yield from _read_lines(source, file, part_rows)
        else:
            with _reading(file):
                yield from _read_batches(source, file, pq.ParquetFile(file).iter_batches(batch_size=part_rows))


def read_sources(sources: Sequence[SourceConfig]) -> Iterator[Row]:
    """Rows of all sources in order."""
    for source in sources:
        for part in read_parts(source):
            yield from part.rows()


def describe_format(part: Part) -> str:
    """The format of a part's first readable row, and what it was told from."""
    if part.source.format is not SourceFormat.AUTO:
        return f"format {part.source.format}, as configured"
    for place, raw in part.raw():
        if isinstance(raw, dict):
            try:
                return f"format {detect_format(raw, place)}, told from the keys {', '.join(sorted(raw))}"
            except DataError as error:
                return str(error)
    return "no row that can be read"


def count_rows(source: SourceConfig) -> int:
    """Rows of a source, for progress: those that its footer says, or the lines of JSONL.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    total = 0
    for file in source_files(source.path):
        with _reading(file):
            if file.is_dir():
                total += dataset_rows(file, source.split)
            elif file.suffix == ".parquet":
                total += pq.read_metadata(file).num_rows
            else:
                with file.open("rb") as handle:
                    total += sum(1 for _ in handle)
    return total


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Names the file in what Arrow or the system says of it, which may be as late as at a page in the middle."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())  # on one line
        raise DataError(
            f"{path}: cannot be read ({reason}); was it written completely, and as its suffix says?"
        ) from error


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, or over the names and bytes of all files of a folder."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        names = "".join(f"{file.relative_to(path)} {hash_file(file)}\n" for file in files)
        return hashlib.sha256(names.encode()).hexdigest()
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def source_identity(source: SourceConfig) -> list[Any]:
    """What decides the rows of a source, as plain values for a key: the hash of its bytes, and its options."""
    return [hash_file(source.path), source.model_dump(mode="json", exclude={"path", "name"})]


def _read_lines(source: SourceConfig, file: Path, part_rows: int) -> Iterator[Part]:
    lines: list[bytes] = []
    size, first = 0, 1
    with file.open("rb") as handle:
        for line in handle:
            # Of a line that is too long only enough is kept to be refused for its length.
            lines.append(line if len(line) <= MAX_ROW_BYTES else line[: MAX_ROW_BYTES + 1])
            size += len(lines[-1])
            if len(lines) == part_rows or size >= PART_BYTES:
                yield Part(source, file, first, tuple(lines))
                first, size, lines = first + len(lines), 0, []
    if lines:
        yield Part(source, file, first, tuple(lines))


def _read_batches(source: SourceConfig, file: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[Part]:
    first = 1
    for batch in batches:
        yield Part(source, file, first, table=batch)
        first += batch.num_rows


def _parse_line(place: str, line: bytes) -> Any:
    if len(line) > MAX_ROW_BYTES:
        return DataError(f"{place}: longer than {MAX_ROW_BYTES >> 20} MiB; a row is one trajectory")
    try:
        row = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        return DataError(f"{place}: not a line of JSON ({error})")
    except RecursionError:
        return DataError(f"{place}: not a line of JSON that can be read (nested too deeply)")
    except ValueError as error:  # NaN, or an integer of more digits than Python converts
        return DataError(f"{place}: not a line of JSON that can be read ({error})")
    return row if isinstance(row, dict) else DataError(f"{place}: a row must be an object, not {type(row).__name__}")


def _check_numbers(trajectory: Trajectory, place: str) -> None:
    for index, attempt in enumerate(trajectory.attempts):
        numbers = {"seconds": attempt.seconds, "confidence": attempt.confidence, **attempt.metrics}
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise DataError(f"{place}: field 'attempts.{index}.{name}': {number} is not finite")


def _check_texts(trajectory: Trajectory, place: str) -> None:
    """Refuse what no tokenizer takes, and turns that say nothing; a tool may well say nothing."""
    for index, message in enumerate(trajectory.messages):
        for name, text in (("content", message.content), ("reasoning_content", message.reasoning_content or "")):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                field = f"messages.{index}.{name}"
                reason = f"{error.reason} at character {error.start}"
                raise DataError(f"{place}: field {field!r}: not valid Unicode ({reason})") from error
        silent = not message.content.strip() and not (message.reasoning_content or "").strip()
        if silent and message.role in (Role.USER, Role.ASSISTANT):
            raise DataError(f"{place}: field 'messages.{index}': an empty {message.role} turn")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check(place: str, raw: Any, source: SourceConfig) -> Row:
    if isinstance(raw, DataError):
        return Row(place, None, None, str(raw))
    name = raw.get("domain")
    domain = Domain(name) if isinstance(name, str) and name in set(Domain) else source.domain
    try:
        trajectory = parse_trajectory(convert(raw, source, place), place)
        _check_numbers(trajectory, place)
        _check_texts(trajectory, place)
    except DataError as error:
        return Row(place, domain, None, str(error))
    return Row(place, trajectory.domain, trajectory)
