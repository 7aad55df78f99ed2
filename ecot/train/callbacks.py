"""What happens between steps: the rate, when to log and save, metrics, wandb."""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ecot.data_mix.plan import PackPlan
from ecot.train.config import TrainConfig
from ecot.train.json_rows import append_row, read_json_rows, replace_rows
from ecot.train.trainer import EcotTrainer

logger = logging.getLogger(__name__)


class PlanCallback(TrainerCallback):
    """Sets the rate before each step, closes the step, and decides which steps log and save."""

    def __init__(self, config: TrainConfig, num_steps: int, milestone_steps: Collection[int]) -> None:
        self.config = config
        self.num_steps = num_steps
        self.milestone_steps = frozenset(milestone_steps)
        self.trainer: EcotTrainer
        """Set once the trainer is built."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """DeepSpeed's engine is there now."""
        self.trainer.begin()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the learning rate of this plan step."""
        kwargs["lr_scheduler"].step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Close the step; log and save where the plan or the intervals say so."""
        self.trainer.finish_step()
        step = state.global_step
        state.epoch = step / self.num_steps
        ends_budget = step in self.milestone_steps
        control.should_save = ends_budget or step % self.config.checkpoint.every_steps == 0
        # Logged means start afresh with every checkpoint, so that a resumed run logs the same rows.
        control.should_log = control.should_save or step % self.config.log_every == 0 or self.scores_heldout(step)
        return control

    def scores_heldout(self, step: int) -> bool:
        """Whether the held-out documents are scored after so many steps."""
        every = self.config.heldout.every_steps
        return every > 0 and (step % every == 0 or step in self.milestone_steps)


class MetricsCallback(TrainerCallback):
    """Rank 0 writes each logged row to JSONL and, when asked, to wandb with trained tokens as the x axis."""

    def __init__(self, path: Path, plan: PackPlan, config: TrainConfig, run_id: str | None, settings: dict[str, Any]):
        self.path = path
        self.plan = plan
        self.config = config
        self.run_id = run_id
        self.settings = settings
        self.wandb_run: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop rows beyond the resumed step and open the wandb run."""
        if not state.is_world_process_zero:
            return
        replace_rows(self.path, [row for row in read_json_rows(self.path) if row["step"] <= state.global_step])
        if self.config.tracking.wandb:
            self._open_wandb()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write one row."""
        if logs is None or "learning_rate" not in logs or not state.is_world_process_zero:
            return
        row: dict[str, Any] = {"step": state.global_step, "tokens": self.plan.tokens_until(state.global_step), **logs}
        append_row(self.path, row)
        if self.wandb_run is not None:
            self._log_to_wandb(row)

    def _log_to_wandb(self, row: dict[str, Any]) -> None:
        """Its own process sends the row; should that process be gone, the JSONL goes on alone."""
        import wandb

        try:
            self.wandb_run.log(row)
        except (wandb.Error, OSError) as error:
            logger.warning("training goes on without wandb (%s); its figures are in %s", error, self.path)
            self.wandb_run = None

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the wandb run."""
        if self.wandb_run is not None:
            self.wandb_run.finish()

    def _open_wandb(self) -> None:
        """Open the run; it is kept on disk, and that is said, when the service cannot be reached."""
        import wandb  # slow to import, and only rank 0 of a tracked run needs it

        chosen = bool(os.environ.get("WANDB_MODE")) or _has_wandb_key()
        try:
            self.wandb_run = self._init_wandb(None if chosen else "offline")
        except wandb.Error as error:
            logger.warning("wandb cannot be reached (%s): this run is logged offline; send it with `wandb sync`", error)
            wandb.teardown()  # its service still holds the run's id
            self.wandb_run = self._init_wandb("offline")
        self.wandb_run.define_metric("tokens")
        self.wandb_run.define_metric("*", step_metric="tokens")

    def _init_wandb(self, mode: Literal["offline"] | None) -> Any:
        import wandb

        return wandb.init(
            project=self.config.tracking.project,
            id=self.run_id,
            resume="allow",
            dir=str(self.path.parent),
            mode=mode,
            config=self.settings,
            settings=wandb.Settings(silent=True, console="off", init_timeout=self.config.tracking.timeout_seconds),
        )


def _has_wandb_key() -> bool:
    """Whether a key is set, in the environment or by `wandb login`."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
