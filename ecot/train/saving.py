"""What a checkpoint holds besides the sharded state, and what makes one a milestone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ecot.data_mix.plan import PackPlan
from ecot.train.checkpoint import Progress, check_space, rotate_checkpoints, write_checkpoint
from ecot.train.course import Course
from ecot.train.distributed import barrier, sum_over_ranks
from ecot.train.milestones import write_record
from ecot.train.probe import probe_logits, write_probe
from ecot.train.skipping import SkipCallback
from ecot.train.trainer import EcotTrainer
from ecot.train.uploading import Uploader


@dataclass(frozen=True)
class Saver:
    """Writes the checkpoint of the present step; at the end of a budget, or of a branch, it is a milestone."""

    course: Course
    plan: PackPlan
    tokenizer: PreTrainedTokenizerBase
    skips: SkipCallback
    uploader: Uploader
    keep: int
    run_id: str
    settings: dict[str, Any]
    """The `model` and `train` sections."""

    def __call__(self, trainer: EcotTrainer) -> None:
        """Save: a collective call of all ranks."""
        step, first = trainer.state.global_step, trainer.args.should_save
        name, paths = self.course.milestones.get(step), self.course.paths
        final = paths.milestones / name if name else paths.checkpoints / f"checkpoint-{step}"
        counts = {**self.plan.counts_until(step), "skipped": self.skips.tokens(), "skipped_steps": self.skips.steps}
        progress = Progress(
            step, self.plan.hash, trainer.args.world_size, counts, self.run_id, name, settings=self.settings
        )
        model: PreTrainedModel = trainer.model
        probe = probe_logits(model) if name else {}

        def fill(folder: Path) -> None:
            trainer.write_state(folder)
            if not first:
                return
            model.config.architectures = [type(model).__name__]
            model.config.save_pretrained(folder)
            model.generation_config.save_pretrained(folder)
            if name:
                self.tokenizer.save_pretrained(folder / "tokenizer")
                write_record(folder, self._record(trainer, name, counts))
                write_probe(folder, probe)

        needed = torch.tensor(trainer.state_bytes(), device=trainer.args.device)
        check_space(paths.root, int(sum_over_ranks(needed).item()))
        write_checkpoint(final, fill, progress)
        if first:
            self.uploader.add(final)
            rotate_checkpoints(paths, self.keep, step, spare=self.uploader.pending)
        barrier()

    def _record(self, trainer: EcotTrainer, name: str, counts: dict[str, Any]) -> dict[str, Any]:
        last = trainer.state.log_history[-1] if trainer.state.log_history else {}
        return {
            "name": name,
            "plan_step": trainer.state.global_step,
            "plan_hash": self.plan.hash,
            **self._tokens(name, counts["all"]),
            "counts": counts,
            "learning_rate": trainer.lr_scheduler.get_last_lr()[0],
            "losses": {key: value for key, value in last.items() if key.startswith(("loss", "accuracy", "heldout"))},
        }

    def _tokens(self, name: str, processed: int) -> dict[str, Any]:
        """What was asked for and what came; of a branch, how far it went beyond its milestone."""
        budgets = {budget.name: budget for budget in self.plan.budgets}
        budget = budgets[self.course.branch or name]
        tokens = {
            "content_hash": budget.content_hash,
            "requested_tokens": budget.requested,
            "planned_tokens": budget.planned,
            "shortfall_tokens": budget.shortfall,
        }
        if self.course.branch is None:
            return tokens
        at_milestone = self.plan.tokens_until(budget.last_step)
        return {**tokens, "branch_of": budget.name, "decay_tokens": processed - at_milestone}
