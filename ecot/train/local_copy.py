"""Copies on a node's own disk (`train.local_copy`, made by `slurm/stage.sh`), read instead of the shared ones."""

from __future__ import annotations

from pathlib import Path

from ecot.train.config import ModelConfig

MODEL = "model"


def nearest(local: Path | None, shared: Path) -> Path:
    """The local copy of the folder `shared`, which has its name, or `shared` itself where there is none."""
    copy = local / shared.name if local is not None else shared
    return copy if copy.is_dir() else shared


def nearest_weights(local: Path | None, model: ModelConfig) -> ModelConfig:
    """The section, with `path` replaced by the local copy of the weights where there is one."""
    if local is None or model.path is None or not (local / MODEL).is_dir():
        return model
    return model.model_copy(update={"path": str(local / MODEL)})
