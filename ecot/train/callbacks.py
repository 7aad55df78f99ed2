"""What happens between steps: the rate, when to log and save, progress on the terminal, metrics, wandb."""

from __future__ import annotations

import logging
import netrc
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tqdm import tqdm
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
        control.should_log = control.should_save or step % self.config.log_every == 0
        return control


class MetricsCallback(TrainerCallback):
    """Rank 0 writes each logged row to JSONL and, when asked, to wandb with trained tokens as the x axis."""

    def __init__(self, path: Path, plan: PackPlan, config: TrainConfig, run_id: str | None, settings: dict[str, Any]):
        self.path = path
        self.plan = plan
        self.config = config
        self.run_id = run_id
        self.settings = settings
        self.wandb_run: Any = None
        self.clock = (0, time.monotonic())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop rows beyond the resumed step and open the wandb run."""
        self.clock = (state.global_step, time.monotonic())
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
        step = state.global_step
        previous, began = self.clock
        now = time.monotonic()
        self.clock = (step, now)
        tokens = self.plan.tokens_until(step)
        row: dict[str, Any] = {"step": step, "tokens": tokens, **logs}
        row["tokens_per_second"] = (tokens - self.plan.tokens_until(previous)) / max(1e-9, now - began)
        append_row(self.path, row)
        if self.wandb_run is not None:
            self.wandb_run.log(row)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the wandb run."""
        if self.wandb_run is not None:
            self.wandb_run.finish()

    def _open_wandb(self) -> None:
        """Open the run; training goes on without it, and says so, when the service cannot be reached."""
        import wandb  # slow to import, and only rank 0 of a tracked run needs it

        try:
            self.wandb_run = wandb.init(
                project=self.config.tracking.project,
                id=self.run_id,
                resume="allow",
                dir=str(self.path.parent),
                mode=None if os.environ.get("WANDB_MODE") or _has_wandb_key() else "offline",
                config=self.settings,
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.Error as error:
            logger.warning("training goes on without wandb (%s); its figures are in %s", error, self.path)
            return
        self.wandb_run.define_metric("tokens")
        self.wandb_run.define_metric("*", step_metric="tokens")


def _has_wandb_key() -> bool:
    """Whether a key is set, in the environment or by `wandb login`."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


class ProgressLine(TrainerCallback):
    """A progress bar over the steps of the plan, on rank 0."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self.bar: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar at the step resumed from."""
        if state.is_world_process_zero:
            self.bar = tqdm(total=self.num_steps, initial=state.global_step, desc="train", unit="step", smoothing=0.1)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance."""
        if self.bar is not None:
            self.bar.update(1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the losses of the last logged row."""
        if self.bar is not None and logs and "loss" in logs:
            shown = {name.removeprefix("loss/"): f"{logs[name]:.3f}" for name in logs if name.startswith("loss")}
            self.bar.set_postfix({k: v for k, v in shown.items() if k in ("loss", "thinking", "answer")})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
