"""Milestones: the end of each token budget is a step boundary of the plan, and its checkpoint stays.

The command line reads them too, so nothing heavy is imported here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ecot.data_mix.plan import PackPlan
from ecot.errors import CheckpointError
from ecot.run_paths import RunPaths

MILESTONE = "milestone.json"
PROBE = "probe.safetensors"
"""What `ecot.train.probe` makes."""
BRANCHES = "branches"
"""In the run's folder: a run folder per branch (`ecot.train.course`)."""


def milestone_steps(plan: PackPlan) -> dict[int, str]:
    """Plan step -> name of the budget that ends there."""
    return {budget.last_step: budget.name for budget in plan.budgets}


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Add a milestone's record to a checkpoint that is being written (rank 0)."""
    (folder / MILESTONE).write_text(json.dumps(record, indent=1), "utf-8")


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


def list_exports(paths: RunPaths) -> list[Path]:
    """The finished exports of a run, in the order of training; there may be none."""
    folders = [path.parent for path in paths.export.glob(f"*/{MILESTONE}") if path.parent.name[0] != "."]
    return sorted(folders, key=lambda folder: json.loads((folder / MILESTONE).read_text("utf-8"))["plan_step"])
