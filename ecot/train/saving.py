"""What a checkpoint holds besides the sharded state, and what makes one a milestone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ecot.data_mix.plan import PackPlan
from ecot.run_paths import RunPaths
from ecot.train.checkpoint import Progress, rotate_checkpoints, write_checkpoint
from ecot.train.distributed import barrier
from ecot.train.milestones import milestone_steps, probe_logits, write_milestone
from ecot.train.skipping import SkipCallback
from ecot.train.trainer import EcotTrainer


@dataclass(frozen=True)
class Saver:
    """Writes the checkpoint of the present step; at the end of a budget it is a milestone."""

    paths: RunPaths
    plan: PackPlan
    tokenizer: PreTrainedTokenizerBase
    skips: SkipCallback
    keep: int
    run_id: str
    settings: dict[str, Any]
    """The `model` and `train` sections."""

    def __call__(self, trainer: EcotTrainer) -> None:
        """Save: a collective call of all ranks."""
        step, first = trainer.state.global_step, trainer.args.should_save
        name = milestone_steps(self.plan).get(step)
        final = self.paths.milestones / name if name else self.paths.checkpoints / f"checkpoint-{step}"
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
                write_milestone(folder, self._record(trainer, name, counts), probe)

        write_checkpoint(final, fill, progress)
        if first:
            rotate_checkpoints(self.paths, self.keep, step)
        barrier()

    def _record(self, trainer: EcotTrainer, name: str, counts: dict[str, Any]) -> dict[str, Any]:
        budget = next(budget for budget in self.plan.budgets if budget.name == name)
        last = trainer.state.log_history[-1] if trainer.state.log_history else {}
        return {
            "name": name,
            "plan_step": trainer.state.global_step,
            "plan_hash": self.plan.hash,
            "content_hash": budget.content_hash,
            "requested_tokens": budget.requested,
            "planned_tokens": budget.planned,
            "shortfall_tokens": budget.shortfall,
            "counts": counts,
            "learning_rate": trainer.lr_scheduler.get_last_lr()[0],
            "losses": {key: value for key, value in last.items() if key.startswith(("loss", "accuracy"))},
        }
