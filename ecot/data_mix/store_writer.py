"""Writes the files of a store, each synced to disk before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ecot.data_mix.documents import NewDocument, labels_by_attempt
from ecot.data_mix.groups import domain_index
from ecot.data_mix.sources import Row
from ecot.data_mix.store import DOCUMENTS, IDS, RUNS, SCHEMA
from ecot.segments import Kind, count_tokens


def write_documents(folder: Path, documents: Sequence[tuple[Row, NewDocument]]) -> None:
    """Write ids, runs and metadata of the documents of one shard; shared beginnings once."""
    runs = [np.array(document.encoded.runs, np.int32).reshape(-1, 3) for _, document in documents]
    own = [document.encoded.ids[document.repeated :] for _, document in documents]
    save_array(folder / IDS, np.concatenate(own or [np.empty(0, np.int32)]))
    save_array(folder / RUNS, np.concatenate(runs or [np.empty((0, 3), np.int32)]))
    table = pa.Table.from_pylist([_metadata(row, document) for row, document in documents], SCHEMA)
    write_table(folder / DOCUMENTS, table)


def write_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow file and sync it."""
    with path.open("wb") as handle:
        with pa.ipc.new_file(handle, table.schema) as writer:
            writer.write_table(table)
        handle.flush()
        os.fsync(handle.fileno())


def _metadata(row: Row, document: NewDocument) -> dict[str, Any]:
    trajectory = row.trajectory
    assert trajectory is not None
    runs = document.encoded.runs
    return {
        "trajectory_id": trajectory.id,
        "task_id": trajectory.task_id,
        "domain": domain_index(trajectory.domain),
        "verdict": trajectory.verdict,
        "attempt_labels": labels_by_attempt(trajectory),
        "place": row.place,
        "cut": document.cut,
        "tokens": len(document.encoded.ids),
        "runs": len(runs),
        "repeated": document.repeated,
        "added": document.added,
        "straddling": document.encoded.straddling,
        "prompt": count_tokens(runs, [Kind.PROMPT]),
        "thinking": count_tokens(runs, [Kind.THINKING]),
        "answer": count_tokens(runs, [Kind.ANSWER]),
        "observation": count_tokens(runs, [Kind.OBSERVATION]),
        "digest": document.digest(trajectory),
    }


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a `.npy` file and sync it."""
    with path.open("wb") as handle:
        np.save(handle, array)
        handle.flush()
        os.fsync(handle.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a text file; complete or absent."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
