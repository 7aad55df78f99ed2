"""Where the rows of a source lie: files, folders of files, data sets that `datasets` wrote, and those of the hub."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ecot.data_mix.config import HubConfig, SourceConfig
from ecot.errors import DataError
from ecot.trajectory_io import SUFFIXES

if TYPE_CHECKING:
    from datasets import Dataset

_WRITTEN = ("state.json", "dataset_dict.json", "dataset_info.json")
"""One of these lies in every folder that `save_to_disk` wrote."""
_HINTS = {
    ".json": "write one row a line, for example with `jq -c '.[]'`",
    ".gz": "unpack it",
    ".zst": "unpack it",
    ".arrow": "give the folder that `save_to_disk` wrote",
}


def source_files(path: Path) -> list[Path]:
    """The files of a source in a fixed order; a folder written by `save_to_disk` stands for itself.

    Raises:
        DataError: there is nothing to read.
    """
    if path.is_dir():
        if any((path / name).is_file() for name in _WRITTEN):
            return [path]
        files = [file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file()]
        files = sorted(file for file in files if not any(p.startswith(".") for p in file.relative_to(path).parts))
        if not files:
            raise DataError(
                f"{path}: holds no {' or '.join(SUFFIXES)} file, and is no folder written by `Dataset.save_to_disk`"
            )
        return files
    if not path.is_file():
        raise DataError(f"{path}: no such file; data.sources takes JSONL, Parquet or a folder")
    if path.suffix not in SUFFIXES:
        hint = f"; {_HINTS[path.suffix]}" if path.suffix in _HINTS else ""
        allowed = f"allowed: {', '.join(SUFFIXES)}, or a folder"
        raise DataError(f"{path}: unknown suffix {path.suffix!r}; {allowed}{hint}")
    return [path]


def dataset_batches(folder: Path, split: str | None, part_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of a folder written by `save_to_disk`."""
    for table in _open_dataset(folder, split).with_format("arrow").iter(batch_size=part_rows):
        yield from table.combine_chunks().to_batches()


def dataset_rows(folder: Path, split: str | None) -> int:
    """Rows of a folder written by `save_to_disk`."""
    return _open_dataset(folder, split).num_rows


def _open_dataset(folder: Path, split: str | None) -> Dataset:
    from datasets import Dataset, load_from_disk  # imported only where one is given: it takes a second

    try:
        dataset = load_from_disk(str(folder))
    except FileNotFoundError as error:
        raise DataError(f"{folder}: not a folder written by `Dataset.save_to_disk` ({error})") from error
    if isinstance(dataset, Dataset):
        return dataset
    if split not in dataset:
        given = f"split {split!r} is none of them" if split else "say which one with split"
        raise DataError(f"{folder}: holds several splits ({', '.join(dataset)}); {given}")
    return dataset[split]


def fetch(source: SourceConfig, folder: Path) -> SourceConfig:
    """The source with a path: a data set of the hub is copied into `folder` first, complete or absent.

    Once it is there the hub is not asked again, so a run goes on without a network.

    Raises:
        DataError: the hub cannot be reached, or has no such data set, revision or split.
    """
    hub = source.hub
    if hub is None:
        return source
    parts = [hub.id.strip("/").replace("/", "--"), hub.subset or "", hub.split, hub.revision[:12]]
    target = folder / ".".join(filter(None, parts))
    if not target.is_dir():
        dataset = _load(hub)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        dataset.save_to_disk(str(temporary))
        os.replace(temporary, target)
    return source.model_copy(update={"path": target})


def _load(hub: HubConfig) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(hub.id, hub.subset, split=hub.split, revision=hub.revision)
    except (OSError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(
            f"data.sources: {hub.id} (split {hub.split}, revision {hub.revision}) cannot be had from the hub ({reason})"
            "; where this machine has no network, or HF_HUB_OFFLINE is set, fetch it elsewhere, copy it here and give "
            "its folder as path"
        ) from error
