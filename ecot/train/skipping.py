"""Steps whose gradients are not finite are skipped by all ranks alike, counted and written down.

DeepSpeed 0.19's ZeRO-3 looks for infinities in fp16 runs only: in fp32 and bf16 one NaN would reach the weights. The
learning rate and the milestones follow the plan step, so a skipped step moves nothing else.
"""

from __future__ import annotations

import types
from typing import Any

import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ecot.data_mix.plan import PackPlan
from ecot.errors import TrainingError
from ecot.run_paths import RunPaths
from ecot.train.checkpoint import list_checkpoints
from ecot.train.json_rows import append_row, read_json_rows, replace_rows

SKIPPED = "skipped.jsonl"
"""In the run's folder: a row per skipped step."""


def check_every_gradient(zero_optimizer: Any) -> None:
    """Make a ZeRO-3 optimizer look for NaN and infinity whatever its type; the answer is the same on all ranks.

    Afterwards `zero_optimizer.overflow` says, after each step, whether it was skipped.
    """

    def check(self: Any, update_scale: bool = True) -> bool:
        self.overflow = False
        self.check_overflow()
        return bool(self._loss_scale_update_and_overflow_cleanup() if update_scale else self.overflow)

    zero_optimizer._overflow_check_and_loss_scale_update = types.MethodType(check, zero_optimizer)


class SkipCallback(TrainerCallback):
    """Writes down skipped steps and ends the run when there are too many."""

    def __init__(self, paths: RunPaths, plan: PackPlan, max_skipped: int) -> None:
        self.paths = paths
        self.plan = plan
        self.max_skipped = max_skipped
        self.steps: list[int] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take over the steps that were skipped before the checkpoint that is resumed from."""
        found: list[Any] = [None]
        if state.is_world_process_zero:
            rows = [row for row in read_skipped(self.paths) if row["step"] <= state.global_step]
            if (self.paths.root / SKIPPED).exists():
                replace_rows(self.paths.root / SKIPPED, rows)
            found = [[row["step"] for row in rows]]
        if dist.is_initialized():
            dist.broadcast_object_list(found, src=0)
        self.steps = found[0]

    def record(self, step: int, first_rank: bool) -> None:
        """A step was skipped: a collective decision, known to every rank.

        Raises:
            TrainingError: more than `max_skipped` steps in this run.
        """
        self.steps.append(step)
        packs = [list(pack.documents) for pack in self.plan.packs(step - 1)]
        if first_rank:
            append_row(self.paths.root / SKIPPED, {"step": step, "tokens": self.tokens([step]), "documents": packs})
        if len(self.steps) > self.max_skipped:
            good = next(iter(list_checkpoints(self.paths)), None)
            raise TrainingError(
                f"step {step}: {len(self.steps)} steps had a gradient that is not finite, more than "
                f"train.max_skipped ({self.max_skipped}); its documents are in {self.paths.root / SKIPPED}; the last "
                f"good checkpoint is {good or 'none'}; lower train.learning_rate or leave the documents out"
            )

    def tokens(self, steps: list[int] | None = None) -> int:
        """Tokens of the given skipped steps, or of all."""
        steps = self.steps if steps is None else steps
        return sum(self.plan.tokens_until(step) - self.plan.tokens_until(step - 1) for step in steps)


def read_skipped(paths: RunPaths) -> list[dict[str, Any]]:
    """The skipped steps of a run: step (from 1), tokens, and the documents of each pack."""
    return read_json_rows(paths.root / SKIPPED)
