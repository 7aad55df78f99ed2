"""Copies on a node's own disk (`train.local_copy`), read instead of the shared ones."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock

from ecot.run_paths import RunPaths
from ecot.train.config import ModelConfig

MODEL = "model"


def copy_to(local: Path, paths: RunPaths, model: ModelConfig) -> list[Path]:
    """Copy the store, the plan and the weights to `local`; one process per node calls it. Returns the new folders.

    A copy is complete or absent, and one that is there is taken as it is: give each job a folder of its own.
    """
    local.mkdir(parents=True, exist_ok=True)
    sources = {shared.name: shared for shared in (paths.store, paths.plan)}
    if model.path is not None and Path(model.path).is_dir():
        sources[MODEL] = Path(model.path)
    made = []
    with FileLock(local / ".lock"):
        for name, source in sources.items():
            if (local / name).is_dir():
                continue
            temporary = local / f".{name}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(source, temporary)
            made.append(temporary.rename(local / name))
    return made


def nearest(local: Path | None, shared: Path) -> Path:
    """The local copy of the folder `shared`, which has its name, or `shared` itself where there is none."""
    copy = local / shared.name if local is not None else shared
    return copy if copy.is_dir() else shared


def nearest_weights(local: Path | None, model: ModelConfig) -> ModelConfig:
    """The section, with `path` replaced by the local copy of the weights where there is one."""
    if local is None or model.path is None or not (local / MODEL).is_dir():
        return model
    return model.model_copy(update={"path": str(local / MODEL)})
