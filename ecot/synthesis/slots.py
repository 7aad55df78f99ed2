"""The work list: which trajectory is drawn when, from which task and seed. A pure function of the configuration."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from ecot.errors import ConfigError
from ecot.synthesis.config import SynthesisConfig
from ecot.tasks.bundle import Task


class Split(StrEnum):
    """Which file a trajectory goes to; also the file's name."""

    TRAIN = "train"
    HELDOUT = "heldout"


@dataclass(frozen=True)
class Slot:
    """One trajectory to be drawn. Its seed decides everything in it, whatever runs beside it."""

    split: Split
    index: int
    task_id: str
    seed: int
    """Below 2**63."""


def derive_seed(*parts: object) -> int:
    """A seed below 2**63 from any printable parts; equal parts give equal seeds on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1


def split_tasks(config: SynthesisConfig, tasks: Mapping[str, Task], seed: int) -> dict[Split, list[str]]:
    """Task ids per split, sorted; no task is in both.

    Raises:
        ConfigError: a held-out task does not exist, or a split that needs tasks has none.
    """
    unknown = sorted(set(config.heldout_tasks) - set(tasks))
    if unknown:
        known = ", ".join(sorted(tasks))
        raise ConfigError(f"key 'synthesis.heldout_tasks': no such task: {', '.join(unknown)}; known: {known}")
    if config.heldout_tasks:
        heldout = set(config.heldout_tasks)
    else:
        wanted = config.heldout_trajectories > 0
        count = max(1, math.floor(config.heldout_fraction * len(tasks) + 0.5)) if wanted else 0
        heldout = set(Random(derive_seed(seed, "heldout")).sample(sorted(tasks), min(count, len(tasks))))
    splits = {Split.TRAIN: sorted(set(tasks) - heldout), Split.HELDOUT: sorted(heldout)}
    counts = {Split.TRAIN: config.train_trajectories, Split.HELDOUT: config.heldout_trajectories}
    for split, ids in splits.items():
        if counts[split] and not ids:
            raise ConfigError(
                f"key 'synthesis.{split}_trajectories': {counts[split]} wanted, but no task is left for them "
                f"({len(tasks)} tasks in all); change 'synthesis.heldout_tasks' or 'synthesis.heldout_fraction'"
            )
    return splits


def draw_slot(task_ids: Sequence[str], seed: int, split: Split, index: int) -> Slot:
    """The slot of a given index; tasks take turns in an order that is shuffled anew for every round."""
    turn, place = divmod(index, len(task_ids))
    order = sorted(task_ids)
    Random(derive_seed(seed, split, "round", turn)).shuffle(order)
    return Slot(split, index, order[place], derive_seed(seed, split, index))
