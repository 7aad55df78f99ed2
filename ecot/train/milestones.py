"""Milestones: the end of each token budget is a step boundary of the plan, and its checkpoint stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from ecot.data_mix.plan import PackPlan
from ecot.errors import CheckpointError
from ecot.run_paths import RunPaths

MILESTONE = "milestone.json"
PROBE = "probe.safetensors"
BRANCHES = "branches"
"""In the run's folder: a run folder per branch (`ecot.train.course`)."""
_PROBE_TOKENS = 32


def milestone_steps(plan: PackPlan) -> dict[int, str]:
    """Plan step -> name of the budget that ends there."""
    return {budget.last_step: budget.name for budget in plan.budgets}


def probe_logits(model: PreTrainedModel) -> dict[str, Tensor]:
    """Logits on a fixed input, to tell later whether exported weights are those of the trained model.

    Under ZeRO-3 every rank must call it. Returns `input_ids [1, 32]` int64 and `logits [1, 32, V]` float32.
    """
    vocabulary = model.config.vocab_size
    input_ids = (torch.arange(_PROBE_TOKENS, device=model.device) * 7919 + 13).remainder(vocabulary)[None]
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=input_ids, use_cache=False).logits.float()
    model.train(training)
    return {"input_ids": input_ids.cpu().contiguous(), "logits": logits.cpu().contiguous()}


def write_milestone(folder: Path, record: dict[str, Any], probe: dict[str, Tensor]) -> None:
    """Add a milestone's record and probe to a checkpoint that is being written (rank 0)."""
    (folder / MILESTONE).write_text(json.dumps(record, indent=1), "utf-8")
    save_file(probe, folder / PROBE)


def read_milestones(paths: RunPaths) -> list[dict[str, Any]]:
    """The records of a run's milestones, those of its branches among them, in the order of their steps."""
    records = (json.loads((folder / MILESTONE).read_text("utf-8")) for folder in _folders(paths))
    return sorted(records, key=lambda record: record["plan_step"])


def milestone_folder(paths: RunPaths, name: str) -> Path:
    """The checkpoint of a milestone.

    Raises:
        CheckpointError: there is no such milestone; those that exist are named.
    """
    for folder in _folders(paths):
        if folder.name == name:
            return folder
    present = ", ".join(record["name"] for record in read_milestones(paths)) or "none yet"
    raise CheckpointError(f"{paths.root} has no milestone {name!r}; it has: {present}")


def _folders(paths: RunPaths) -> list[Path]:
    """The run's milestones and those that end its branches."""
    files = [*paths.milestones.glob(f"*/{MILESTONE}"), *paths.root.glob(f"{BRANCHES}/*/milestones/*/{MILESTONE}")]
    return [file.parent for file in files if not file.parent.name.startswith(".")]
