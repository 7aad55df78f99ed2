"""What is finished, on disk: an append-only file of JSON lines that survives a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from ecot.synthesis.slots import Slot, Split
from ecot.synthesis.usage import Usage
from ecot.trajectories import Trajectory, parse_trajectory


@dataclass(frozen=True)
class Drawn:
    """What came of one slot."""

    split: Split
    index: int
    trajectory: Trajectory | None
    """None when every try was discarded."""
    discards: Mapping[str, int] = field(default_factory=dict)
    """Discarded turns, faults and tries by reason."""
    executions: int = 0
    execution_seconds: float = 0.0
    """Wall time of the executions, summed over those that ran at once."""
    usage: Usage | None = None
    """What a model's server did for it; None where no model was asked."""


class Journal:
    """The finished slots of one run. A file of another configuration is replaced, a torn last line is cut off."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Open or create `path`; `identity` says which configuration, tasks and tools its lines belong to."""
        self.drawn: dict[tuple[Split, int], Drawn] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        end = self._load(path, identity) if path.is_file() else 0
        self._handle: BinaryIO = path.open("r+b" if end else "wb")
        self._handle.truncate(end)
        self._handle.seek(end)
        if not end:
            self._write(dict(identity))

    def append(self, slot: Slot, drawn: Drawn) -> None:
        """Add a finished slot. A line reaches the kernel whole or is cut off by the next start."""
        row = asdict(drawn)
        row["trajectory"] = drawn.trajectory.to_row() if drawn.trajectory is not None else None
        row["discards"] = dict(drawn.discards)
        self._write(row)
        self.drawn[slot.split, slot.index] = drawn

    def _write(self, row: dict[str, Any]) -> None:
        self._handle.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
        self._handle.flush()

    def _load(self, path: Path, identity: Mapping[str, Any]) -> int:
        """Read the finished slots; returns the offset after the last good line, 0 to start anew."""
        end = 0
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                row = _parse(line)
                if row is None or (number == 1 and row != dict(identity)):
                    break
                if number > 1:
                    drawn = _drawn(row, f"{path}:{number}")
                    self.drawn[drawn.split, drawn.index] = drawn
                end += len(line)
        return end

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()


def read_header(path: Path) -> dict[str, Any] | None:
    """The identity that a journal begins with; None without a journal or a whole first line."""
    if not path.is_file():
        return None
    with path.open("rb") as handle:
        return _parse(handle.readline())


def _parse(line: bytes) -> dict[str, Any] | None:
    """A whole line's object; None for a torn line."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (UnicodeDecodeError, json.JSONDecodeError):
        return None
    return row if isinstance(row, dict) else None


def _drawn(row: dict[str, Any], place: str) -> Drawn:
    trajectory = parse_trajectory(row["trajectory"], place) if row["trajectory"] is not None else None
    return Drawn(
        Split(row["split"]),
        row["index"],
        trajectory,
        row["discards"],
        row["executions"],
        row["execution_seconds"],
        Usage(**row["usage"]) if row["usage"] is not None else None,
    )
