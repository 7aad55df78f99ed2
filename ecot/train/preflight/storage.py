"""Bytes of a checkpoint, whether the disk holds what a run keeps, and whether a save fits the grace time."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from ecot.train.preflight.gpus import GB
from ecot.train.preflight.shape import ModelShape

HASH_BYTES_PER_SECOND = 1.0 * GB
"""Of one rank reading its own files back and hashing them; SHA-256 with the processor's instructions does 1 to 2 GB/s
a core. Ranks hash their shares at the same time."""
SETTLE_SECONDS = 30.0
"""Besides writing: the step that is under way when the signal comes, renaming, leaving."""


@dataclass(frozen=True)
class StorageEstimate:
    """What the run writes."""

    checkpoint_bytes: int
    kept_bytes: int
    """The most that lies on disk at once: ordinary checkpoints, one being written, milestones and exports."""
    free_bytes: int
    write_bytes_per_second: float | None
    """To the run's folder, all ranks together; None when neither stated nor measured."""
    save_seconds: float | None
    needed_bytes_per_second: float | None
    """At which a save just fits the grace time; None when not even hashing fits it."""
    num_saves: int
    """Of the whole run, milestones included."""


def checkpoint_bytes(shape: ModelShape) -> int:
    """DeepSpeed's ZeRO-3 shards: fp32 master weights and two moments. The weights in the training type are rounded
    from the former on resume and not stored (measured: 12.0 bytes per parameter)."""
    return 12 * shape.parameters


def estimate_storage(
    shape: ModelShape,
    dtype_bytes: int,
    *,
    keep: int,
    milestones: int,
    num_saves: int,
    ranks: int,
    folder: Path,
    grace_seconds: float,
    write_bytes_per_second: float | None,
) -> StorageEstimate:
    """Compare what is written with the disk under `folder` and with the grace time."""
    size = checkpoint_bytes(shape)
    hashing = size / ranks / HASH_BYTES_PER_SECOND
    left = grace_seconds - hashing - SETTLE_SECONDS
    return StorageEstimate(
        checkpoint_bytes=size,
        kept_bytes=(keep + 1 + milestones) * size + milestones * dtype_bytes * shape.parameters,
        free_bytes=shutil.disk_usage(existing_parent(folder)).free,
        write_bytes_per_second=write_bytes_per_second,
        save_seconds=size / write_bytes_per_second + hashing if write_bytes_per_second else None,
        needed_bytes_per_second=size / left if left > 0 else None,
        num_saves=num_saves,
    )


def measure_write(folder: Path, size: int = 2**30) -> float:
    """Bytes per second of one process that writes and syncs `size` bytes under `folder`: a lower bound for many."""
    target = existing_parent(folder) / f".ecot-preflight-{os.getpid()}"
    block = os.urandom(2**22)
    try:
        began = time.monotonic()
        with target.open("wb") as handle:
            for _ in range(max(1, size // len(block))):
                handle.write(block)
            handle.flush()
            os.fsync(handle.fileno())
        return max(1, size // len(block)) * len(block) / (time.monotonic() - began)
    finally:
        target.unlink(missing_ok=True)


def existing_parent(path: Path) -> Path:
    """`path`, or its nearest parent that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
