"""Documents tokenised once, read in place from disk.

A store is a folder of shards, a list of the documents in them that are kept, and `store.json`. A shard holds `ids.npy`
([tokens] int32), `runs.npy` ([runs, 3] int32: length, kind, attempt) and `documents.arrow`, a row of metadata per
document. All are memory-mapped. What documents of one trajectory (`past_thinking: expand`) begin with alike is in
`ids.npy` once: of a document with `repeated` tokens only those after them, which continue the document before it.
"""

from __future__ import annotations

import bisect
import io
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecot.data_mix.groups import DOMAINS
from ecot.data_mix.ledger import Ledger
from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.segments import Kind, Run

MANIFEST = "store.json"
IDS, RUNS, DOCUMENTS = "ids.npy", "runs.npy", "documents.arrow"
SCHEMA = pa.schema(
    [
        ("trajectory_id", pa.string()),
        ("task_id", pa.string()),
        ("domain", pa.int8()),
        ("verdict", pa.string()),
        ("attempt_labels", pa.list_(pa.string())),
        ("place", pa.string()),
        ("cut", pa.bool_()),
        ("tokens", pa.int32()),
        ("runs", pa.int32()),
        ("repeated", pa.int32()),
        ("added", pa.int32()),
        ("straddling", pa.int32()),
        ("prompt", pa.int32()),
        ("thinking", pa.int32()),
        ("answer", pa.int32()),
        ("observation", pa.int32()),
        ("digest", pa.binary(16)),
    ]
)
"""`documents.arrow`: `domain` is an index into `groups.DOMAINS`; from `tokens` on, counts and a content digest."""


class RunTable(NamedTuple):
    """The runs of a document as columns."""

    lengths: np.ndarray
    kinds: np.ndarray
    attempts: np.ndarray


@dataclass(frozen=True)
class Details:
    """What is known of a document besides its tokens."""

    trajectory_id: str
    task_id: str
    verdict: Label | None
    """The label of the trajectory's last attempt, also when the document was cut before it; None without one."""
    attempt_labels: tuple[Label | None, ...]
    """Entry k - 1 is the outcome of attempt k; None where nothing was executed."""
    place: str
    """File and row that it comes from."""


@dataclass(frozen=True)
class Document:
    """One tokenised conversation."""

    ids: np.ndarray
    """[n] int32, read-only."""
    run_table: RunTable
    """[runs] int32 each."""
    domain: Domain
    read_details: Callable[[], Details]
    """Reads the details when one is asked for: most documents of a batch need none."""

    @cached_property
    def details(self) -> Details:
        """What is known of it besides its tokens."""
        return self.read_details()

    @property
    def trajectory_id(self) -> str:
        """The trajectory that it comes from."""
        return self.details.trajectory_id

    @property
    def task_id(self) -> str:
        """The task of that trajectory."""
        return self.details.task_id

    @property
    def verdict(self) -> Label | None:
        """See `Details`."""
        return self.details.verdict

    @property
    def attempt_labels(self) -> tuple[Label | None, ...]:
        """See `Details`."""
        return self.details.attempt_labels

    @property
    def place(self) -> str:
        """See `Details`."""
        return self.details.place

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs one by one."""
        columns = (column.tolist() for column in self.run_table)
        return tuple(Run(length, Kind(kind), attempt) for length, kind, attempt in zip(*columns, strict=True))

    def __len__(self) -> int:
        return len(self.ids)


class ShardFiles:
    """The mapped files of one shard."""

    def __init__(self, folder: Path) -> None:
        self.ids = map_array(folder / IDS)
        self.runs = map_array(folder / RUNS)
        with pa.memory_map(str(folder / DOCUMENTS)) as file:
            self.table = pa.ipc.open_file(file).read_all()
        self.repeated = self.column("repeated")
        self.token_offsets = _offsets(self.column("tokens") - self.repeated)
        self.run_offsets = _offsets(self.column("runs"))
        self.domains = self.column("domain")

    def __len__(self) -> int:
        return len(self.table)

    def column(self, name: str) -> np.ndarray:
        """A column of `documents.arrow`."""
        return self.table.column(name).to_numpy()

    def ids_of(self, row: int) -> np.ndarray:
        """[n] int32 tokens of a document; a view where it shares none with the document before it."""
        parts = [self.ids[self.token_offsets[row] : self.token_offsets[row + 1]]]
        missing = int(self.repeated[row])
        while missing:
            row -= 1
            start = int(self.repeated[row])
            if missing > start:
                first = int(self.token_offsets[row])
                parts.append(self.ids[first : first + missing - start])
                missing = start
        return parts[0] if len(parts) == 1 else np.concatenate(parts[::-1])

    def details_of(self, row: int) -> Details:
        """What is known of a document besides its tokens."""
        names = ("trajectory_id", "task_id", "verdict", "attempt_labels", "place")
        identity, task, verdict, labels, place = (self.table.column(name)[row].as_py() for name in names)
        outcomes = tuple(Label(label) if label else None for label in labels)
        return Details(identity, task, Label(verdict) if verdict else None, outcomes, place)

    def runs_of(self, row: int) -> RunTable:
        """The runs of a document."""
        runs = self.runs[self.run_offsets[row] : self.run_offsets[row + 1]]
        return RunTable(runs[:, 0], runs[:, 1], runs[:, 2])


class DocumentStore:
    """Read access to a store. Opening maps files; nothing is read before it is asked for.

    Raises:
        DataError: there is no complete store in the folder.
    """

    def __init__(self, folder: Path) -> None:
        manifest = folder / MANIFEST
        if not manifest.is_file():
            raise DataError(f"{folder} holds no complete document store; `ecot plan CONFIG` makes it")
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
        self._shards = [ShardFiles(folder / name) for name in self.manifest["shards"]]
        self._first = [0, *itertools.accumulate(len(shard) for shard in self._shards)]
        self._kept = map_array(folder / self.manifest["kept"])

    @classmethod
    def open(cls, folder: Path) -> DocumentStore:
        """Open the store in `folder`."""
        return cls(folder)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Document:
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        place = int(self._kept[index])
        number = bisect.bisect_right(self._first, place) - 1
        shard, row = self._shards[number], place - self._first[number]
        return Document(
            ids=shard.ids_of(row),
            run_table=shard.runs_of(row),
            domain=DOMAINS[shard.domains[row]],
            read_details=partial(shard.details_of, row),
        )

    @property
    def key(self) -> str:
        """Hash of everything that the store was made from: documents and the filters over them."""
        return self.manifest["key"]

    @property
    def ledger(self) -> Ledger:
        """What was kept, cut, left out and refused."""
        return Ledger.from_json(self.manifest["ledger"])

    @cached_property
    def lengths(self) -> np.ndarray:
        """[documents] int64 tokens of each document."""
        return self._column("tokens")

    @cached_property
    def domains(self) -> np.ndarray:
        """[documents] int64 index of each document's domain."""
        return self._column("domain")

    @property
    def source_names(self) -> tuple[str, ...]:
        """The names of the sources that documents come from."""
        return tuple(self.manifest["source_names"])

    @cached_property
    def sources(self) -> np.ndarray:
        """[documents] int64 index into `source_names`."""
        sizes = [len(shard) for shard in self._shards]
        return np.repeat(np.array(self.manifest["shard_sources"], np.int64), sizes)[self._kept]

    @cached_property
    def trajectories(self) -> np.ndarray:
        """[documents] int64 number of the row that each document is made from: several share one with `expand`."""
        begins = [np.empty(0, np.int64)]
        for shard in self._shards:
            place = shard.table.column("place").combine_chunks()
            changes = pc.not_equal(place[1:], place[:-1]).to_numpy(zero_copy_only=False)
            begins.append(np.concatenate([[1], changes])[: len(shard)].astype(np.int64))
        return (np.cumsum(np.concatenate(begins)) - 1)[self._kept]

    @cached_property
    def repeated(self) -> np.ndarray:
        """[documents] int64 tokens that an earlier document of the same trajectory begins with as well."""
        return self._column("repeated")

    @cached_property
    def straddling(self) -> np.ndarray:
        """[documents] int64 tokens with characters of two kinds or attempts (`ecot.data_mix.alignment`)."""
        return self._column("straddling")

    @cached_property
    def kind_counts(self) -> np.ndarray:
        """[documents, 4] int64 tokens of each kind (prompt, thinking, answer, observation)."""
        return np.stack([self._column(kind) for kind in ("prompt", "thinking", "answer", "observation")], axis=1)

    @property
    def kept_tokens(self) -> int:
        """The tokens that `past_thinking: keep` would take for the same turns, each in one document only."""
        return int(self._column("added").sum())

    def digests(self) -> list[bytes]:
        """16 bytes over each document's ids, runs, domain, verdict and attempt labels."""
        every = [digest for shard in self._shards for digest in shard.table.column("digest").to_pylist()]
        return [every[index] for index in self._kept.tolist()]

    def _column(self, name: str) -> np.ndarray:
        columns = [shard.column(name) for shard in self._shards]
        return np.concatenate([*columns, np.empty(0, np.int64)])[self._kept].astype(np.int64)


def map_array(path: Path) -> np.ndarray:
    """A `.npy` file mapped read-only. Unlike numpy's mapping it holds no file open: a store may have thousands."""
    with pa.memory_map(str(path)) as file:
        content = file.read_buffer()
    head = io.BytesIO(memoryview(content)[:1024])
    assert np.lib.format.read_magic(head) == (1, 0)
    shape, _, dtype = np.lib.format.read_array_header_1_0(head)
    return np.ndarray(shape, dtype, content, head.tell())


def _offsets(lengths: np.ndarray) -> np.ndarray:
    """[n + 1] int64: where each of consecutive stretches begins, and the end."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
