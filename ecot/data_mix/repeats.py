"""Which keys and identifiers occur more than once in some shards: only their rows need be remembered.

A dictionary of all rows would take 300 bytes a row. Here a row costs two 8-byte hashes while they are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ecot.data_mix.shards import ROWS


@dataclass(frozen=True)
class Repeats:
    """64-bit hashes that occur more than once. A false one costs a remembered row, never a wrong answer."""

    keys: frozenset[int]
    """Of the normalised texts."""
    identities: frozenset[int]
    """Of file and `id`."""

    @classmethod
    def of_shards(cls, shards: Sequence[Path]) -> Repeats:
        """Read two columns of all rows."""
        keys = [_key_hashes(table) for table in _tables(shards, ["key"])]
        identities = [_identity_hashes(table) for table in _tables(shards, ["place", "trajectory_id"])]
        return cls(_repeated(keys), _repeated(identities))

    def has_key(self, key: bytes) -> bool:
        """Whether another row may have this key."""
        return int.from_bytes(key[:8], "little") in self.keys

    def has_identity(self, place: str, identity: str) -> bool:
        """Whether another row of the same file may have this id."""
        return _identity_hash(place, identity) in self.identities


def file_of(place: str) -> str:
    """The file of a place `file:line`."""
    return place.rpartition(":")[0]


def _tables(shards: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.Table]:
    for folder in shards:
        with pa.memory_map(str(folder / ROWS)) as file:
            yield pa.ipc.open_file(file).read_all().select(columns)


def _key_hashes(table: pa.Table) -> np.ndarray:
    keys = table.column("key").drop_null().to_pylist()
    return np.frombuffer(b"".join(keys), "<u8")[::2]


def _identity_hashes(table: pa.Table) -> np.ndarray:
    pairs = zip(table.column("place").to_pylist(), table.column("trajectory_id").to_pylist(), strict=True)
    hashes = [_identity_hash(place, identity) for place, identity in pairs if identity is not None]
    return np.array(hashes, np.int64)


def _identity_hash(place: str, identity: str) -> int:
    return hash((file_of(place), identity))


def _repeated(parts: Sequence[np.ndarray]) -> frozenset[int]:
    if not parts:
        return frozenset()
    ordered: Any = np.sort(np.concatenate(parts))
    return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
