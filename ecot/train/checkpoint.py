"""Checkpoints that are complete or absent, hashed when written and verified before they are loaded.

A checkpoint folder holds DeepSpeed's shards, the RNG state of every rank, the trainer's state, `progress.json` and,
written last, `manifest.json` with the size and SHA-256 of every other file. Ranks share the hashing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist

from ecot.errors import CheckpointError
from ecot.run_paths import RunPaths
from ecot.train.distributed import barrier, rank

MANIFEST = "manifest.json"
PROGRESS = "progress.json"

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where in the plan a checkpoint stands."""

    plan_step: int
    """Steps done; the next one is this."""
    plan_hash: str
    num_ranks: int
    counts: dict[str, Any] = field(default_factory=dict)
    """Planned, processed and skipped tokens, per kind and domain."""
    wandb_run_id: str | None = None
    milestone: str | None = None
    """Name of the budget that ends at this step."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The `model` and `train` sections that it was trained with."""


def write_checkpoint(final: Path, fill: Callable[[Path], None], progress: Progress) -> None:
    """Write a checkpoint at `final`: a collective call of all ranks.

    Args:
        final: the folder that appears, complete, when the call returns.
        fill: writes this rank's files into the folder it is given.
        progress: the same on every rank.

    Raises:
        CheckpointError: it cannot be written, for example because the disk is full. What was written is removed, and
            the checkpoints before it are as they were.
    """
    temporary = final.with_name(f".{final.name}.tmp")
    try:
        _write(temporary, final, fill, progress)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError where the disk is full
        free = shutil.disk_usage(final.parent).free
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"{final} cannot be written by rank {rank()}: {error}; {free:,} bytes are free there; the checkpoints "
            "before it are intact; make room and start the same command again"
        ) from error


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin a save that the disk cannot hold: a collective call, with the same answer on all ranks.

    Args:
        folder: any folder on the disk.
        needed: bytes that all ranks together are about to write.

    Raises:
        CheckpointError: fewer bytes are free.
    """
    (free,) = _from_first_rank(lambda: [shutil.disk_usage(folder).free])
    if needed > free:
        raise CheckpointError(
            f"{folder}: the next checkpoint needs {needed:,} bytes and {free:,} are free there; the checkpoints before "
            "it are intact; make room and start the same command again"
        )


def _write(temporary: Path, final: Path, fill: Callable[[Path], None], progress: Progress) -> None:
    first = rank() == 0
    if first:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    barrier()
    fill(temporary)
    if first:
        (temporary / PROGRESS).write_text(json.dumps(asdict(progress), indent=1), "utf-8")
    barrier()
    names = _from_first_rank(lambda: _files(temporary))
    entries = _gather({name: _hash(temporary / name, sync=True) for name in _my_share(names)})
    if first:
        manifest = temporary / MANIFEST
        manifest.write_text(json.dumps({"files": dict(sorted(entries.items()))}, indent=1), "utf-8")
        _sync(manifest)
        _replace(temporary, final)
    barrier()


def read_progress(path: Path) -> Progress:
    """The progress of a checkpoint.

    Raises:
        CheckpointError: the file is missing or malformed.
    """
    try:
        return Progress(**json.loads((path / PROGRESS).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path / PROGRESS}: cannot be read ({error}); choose another checkpoint") from error


def find_damage(path: Path) -> str | None:
    """Check every file against the manifest: a collective call. Returns what is wrong, or None."""
    try:
        files = json.loads((path / MANIFEST).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError) as error:
        return f"{path / MANIFEST}: cannot be read ({error})"
    found: dict[str, Any] = {}
    for name in _my_share(sorted(files)):
        file = path / name
        if not file.is_file():
            found[name] = f"{file}: missing"
        elif file.stat().st_size != files[name]["bytes"]:
            found[name] = f"{file}: {file.stat().st_size} bytes instead of {files[name]['bytes']}"
        elif _hash(file, sync=False)["sha256"] != files[name]["sha256"]:
            found[name] = f"{file}: its SHA-256 is not the one in the manifest"
    problems = _gather(found)
    return str(problems[min(problems)]) if problems else None


def list_checkpoints(paths: RunPaths) -> list[Path]:
    """All finished checkpoints and milestones of a run, the furthest first."""
    folders = [f for base in (paths.checkpoints, paths.milestones) if base.is_dir() for f in base.iterdir()]
    steps = {f: _plan_step(f) for f in folders if not f.name.startswith(".") and (f / MANIFEST).is_file()}
    return sorted(steps, key=lambda folder: steps[folder], reverse=True)


def find_checkpoint(paths: RunPaths, plan_hash: str) -> Path | None:
    """The furthest undamaged checkpoint of this run and plan: a collective call; None for a fresh start.

    Raises:
        CheckpointError: checkpoints are there, but of another plan, or all are damaged.
    """
    damages = []
    # One rank looks and tells the others: directory views may differ between nodes for seconds.
    for path in _from_first_rank(lambda: list_checkpoints(paths)):
        if _plan_step(path) < 0:
            damages.append(f"{path / PROGRESS}: cannot be read")
            continue
        progress = read_progress(path)
        if progress.plan_hash != plan_hash:
            raise CheckpointError(
                f"{path} was trained on plan {progress.plan_hash[:12]}, this run's plan is {plan_hash[:12]}: the data, "
                "tokenizer or packing changed; use another run_dir, or remove the old checkpoints"
            )
        damage = find_damage(path)
        if damage is None:
            return path
        logger.warning("damaged checkpoint passed over: %s", damage)
        damages.append(damage)
    if damages:
        raise CheckpointError("every checkpoint is damaged: " + "; ".join(damages) + "; remove them to start afresh")
    return None


def rotate_checkpoints(paths: RunPaths, keep: int, step: int, spare: Collection[Path] = ()) -> None:
    """Remove all but the last `keep` ordinary checkpoints up to `step`, and all beyond it; milestones stay. For rank 0.

    One beyond the step just saved is a damaged one that this run passed over: kept, it would count as the newest.
    Those in `spare` wait for a later rotation.
    """
    ordinary = [path for path in list_checkpoints(paths) if path.parent == paths.checkpoints]
    beyond = [path for path in ordinary if _plan_step(path) > step or _plan_step(path) < 0]
    for path in [*beyond, *[path for path in ordinary if path not in beyond][keep:]]:
        if path not in spare:
            _remove(path)


def sweep_leftovers(paths: RunPaths) -> None:
    """Remove what killed saves and removals left behind. For rank 0, before training."""
    for base in (paths.checkpoints, paths.milestones):
        if base.is_dir():
            for folder in base.iterdir():
                if folder.name.startswith(".") and folder.suffix in (".tmp", ".old"):
                    shutil.rmtree(folder)


def _remove(path: Path) -> None:
    """Out of sight first, so that a kill half-way leaves no checkpoint that looks whole."""
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    shutil.rmtree(old)


def _plan_step(path: Path) -> int:
    """The step of a checkpoint; -1 where it cannot be read."""
    try:
        return read_progress(path).plan_step
    except CheckpointError:
        return -1


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _hash(path: Path, *, sync: bool) -> dict[str, Any]:
    with path.open("rb") as handle:
        if sync:
            os.fsync(handle.fileno())
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, final: Path) -> None:
    """Rename over an older folder of the same name (a damaged one that a resumed run reached again)."""
    old = final.with_name(f".{final.name}.old")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    _sync(temporary)
    temporary.rename(final)
    _sync(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def _my_share(names: list[str]) -> list[str]:
    return names[rank() :: dist.get_world_size()] if dist.is_initialized() else names


def _from_first_rank(look: Callable[[], list[T]]) -> list[T]:
    """What rank 0 sees, on every rank."""
    found: list[Any] = [look() if rank() == 0 else None]
    if dist.is_initialized():
        dist.broadcast_object_list(found, src=0)
    return list(found[0])


def _gather(mine: dict[str, Any]) -> dict[str, Any]:
    if not dist.is_initialized():
        return mine
    everyone: list[dict[str, Any]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(everyone, mine)
    return {name: value for part in everyone for name, value in part.items()}
