"""From a milestone's sharded checkpoint to Hugging Face weights, tensor by tensor, checked in a fresh process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ecot.errors import CheckpointError, ConfigError
from ecot.run_paths import RunPaths
from ecot.train.checkpoint import MANIFEST, find_damage
from ecot.train.milestones import MILESTONE, PROBE, milestone_folder

SHARD_BYTES = 5 * 10**9
"""Largest weight file; hub uploads and loaders expect about this."""

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}
"""Largest allowed difference of logits after reload, relative to the largest logit: rounding of the coarser of the type
trained in (the recorded logits) and the type exported."""


def export_milestone(paths: RunPaths, name: str, out: Path, dtype: str, python: str) -> dict[str, Any]:
    """Write the weights of a milestone, its configuration, tokenizer and chat template, and verify them.

    Args:
        paths: the run.
        name: the milestone.
        out: the folder that appears when everything is written.
        dtype: `float32`, `bfloat16`, or `auto` for the type it was trained in.
        python: interpreter of the fresh process that reloads the export.

    Returns:
        `name, path, dtype, parameters, files, max_logit_difference`.

    Raises:
        CheckpointError: the milestone is missing or damaged, or the reloaded model gives other logits.
        ConfigError: the type is unknown, or `out` exists and is not an export.
    """
    source = milestone_folder(paths, name)
    damage = find_damage(source)
    if damage:
        raise CheckpointError(f"milestone {name} is damaged: {damage}")
    config = json.loads((source / "config.json").read_text("utf-8"))
    trained_in = config["dtype"]
    dtype = trained_in if dtype == "auto" else dtype
    if dtype not in TOLERANCE:
        raise ConfigError(f"dtype {dtype!r} is not supported; choose one of auto, {', '.join(TOLERANCE)}")
    _check_target(out)
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files, parameters = _write_weights(source, temporary, getattr(torch, dtype), config)
    # Training switches the cache off; whoever generates wants it.
    config |= {"dtype": dtype, "use_cache": True}
    (temporary / "config.json").write_text(json.dumps(config, indent=2), "utf-8")
    shutil.copy(source / "generation_config.json", temporary)
    shutil.copytree(source / "tokenizer", temporary, dirs_exist_ok=True)
    shutil.copy(source / "milestone.json", temporary)
    difference = _verify(temporary, source / PROBE, max(TOLERANCE[dtype], TOLERANCE[trained_in]), python)
    _replace_folder(temporary, out)
    return {
        "name": name,
        "path": str(out),
        "dtype": dtype,
        "parameters": parameters,
        "files": files,
        "max_logit_difference": difference,
    }


def _check_target(out: Path) -> None:
    """Only an earlier export of ours is ever replaced: it has a milestone's record and no checkpoint's manifest."""
    if out.exists() and not ((out / MILESTONE).is_file() and not (out / MANIFEST).exists()):
        raise ConfigError(f"{out} exists and is no export of a milestone; choose another folder")


def _replace_folder(temporary: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    os.replace(temporary, out)
    shutil.rmtree(old, ignore_errors=True)


def _write_weights(source: Path, target: Path, dtype: torch.dtype, config: dict[str, Any]) -> tuple[list[str], int]:
    """Stream tensors into safetensors files of at most `SHARD_BYTES`; returns their names and the parameter count."""
    shards: list[dict[str, Tensor]] = [{}]
    size = parameters = 0
    index: dict[str, int] = {}
    written: list[Path] = []

    def flush() -> None:
        written.append(target / f"part-{len(written)}.safetensors")
        save_file(shards.pop(), written[-1], metadata={"format": "pt"})
        written[-1].chmod(0o644)  # it is written for its owner alone, and exports are shared
        shards.append({})

    total = 0
    for name, tensor in _tensors(source, bool(config.get("tie_word_embeddings"))):
        tensor = tensor.to(dtype)
        nbytes = tensor.numel() * tensor.element_size()
        if size and size + nbytes > SHARD_BYTES:
            flush()
            size = 0
        shards[-1][name] = tensor
        index[name] = len(written)
        size += nbytes
        total += nbytes
        parameters += tensor.numel()
    flush()
    return _name_shards(target, written, index, total), parameters


def _name_shards(target: Path, written: list[Path], index: dict[str, int], total: int) -> list[str]:
    """Give the files the names that transformers expects, and write the index when there are several."""
    if len(written) == 1:
        written[0].rename(target / "model.safetensors")
        return ["model.safetensors"]
    names = [f"model-{i + 1:05d}-of-{len(written):05d}.safetensors" for i in range(len(written))]
    for path, name in zip(written, names, strict=True):
        path.rename(target / name)
    weight_map = {tensor: names[shard] for tensor, shard in index.items()}
    content = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (target / "model.safetensors.index.json").write_text(json.dumps(content, indent=1), "utf-8")
    return names


def _tensors(source: Path, tied: bool) -> Iterator[tuple[str, Tensor]]:
    """The fp32 master weights, gathered from the ranks' shards one tensor at a time."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        # It prints its progress; what goes wrong is raised.
        state = get_fp32_state_dict_from_zero_checkpoint(str(source), lazy_mode=True)
    for name, tensor in state.items():
        if tied and name == "lm_head.weight":
            continue
        yield name, tensor.contiguous()


def _verify(folder: Path, probe: Path, tolerance: float, python: str) -> float:
    command = [python, "-m", "ecot.train.verify_export", str(folder), str(probe)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CheckpointError(f"{folder}: the export cannot be loaded again:\n{result.stderr.strip()[-2000:]}")
    found = json.loads(result.stdout.strip().splitlines()[-1])
    if found["max_logit_difference"] > tolerance * found["max_logit"]:
        raise CheckpointError(
            f"{folder}: after reload the logits differ by up to {found['max_logit_difference']:.3g} (largest logit "
            f"{found['max_logit']:.3g}); the export is not the trained model"
        )
    return float(found["max_logit_difference"])
