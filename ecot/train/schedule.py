"""Learning rate as a function of the plan step, so that a skipped or repeated step moves nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ecot.train.config import ScheduleConfig


def learning_rate_factor(config: ScheduleConfig, step: int, num_steps: int, tokens_per_step: int) -> float:
    """Share of the peak learning rate used in a step.

    Args:
        config: shape of the schedule, in tokens.
        step: plan step, from 0.
        num_steps: steps of the whole plan.
        tokens_per_step: nominal tokens of a step (the plan's `global_batch_tokens`).

    Returns:
        A factor in [0, 1]. The warm-up ends at 1; step 0 is already above 0.
    """
    position = (step + 1) * tokens_per_step
    if position < config.warmup_tokens:
        return position / config.warmup_tokens
    if config.type == "constant":
        return 1.0
    total = num_steps * tokens_per_step
    start = total - config.decay_tokens if config.type == "wsd" else config.warmup_tokens
    progress = min(1.0, max(0.0, (position - start) / max(1, total - start)))
    remaining = 0.5 * (1 + math.cos(math.pi * progress)) if config.type == "cosine" else 1 - progress
    return config.min_ratio + (1 - config.min_ratio) * remaining


def branch_factor(step: int, first_step: int, num_steps: int, min_ratio: float) -> float:
    """Share of the peak learning rate in a branch: linear from the stable rate to `min_ratio` in its last step.

    Args:
        step: plan step, from 0.
        first_step: the branch's first one.
        num_steps: steps of the branch.
        min_ratio: final share.
    """
    return min_ratio + (1 - min_ratio) * (1 - (step - first_step + 1) / num_steps)


class PlanSchedule(torch.optim.lr_scheduler.LRScheduler):
    """A scheduler without memory: `step()` sets the rate of the current plan step, however often it is called."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, factor: Callable[[int], float], plan_step: Callable[[], int]
    ) -> None:
        self.factor = factor
        self.plan_step = plan_step
        super().__init__(optimizer)

    def step(self, epoch: int | None = None) -> None:
        """Set every group's rate to that of the current plan step; `epoch` is ignored."""
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def get_lr(self) -> list[float | Tensor]:
        """The rate of each parameter group in the current plan step."""
        factor = self.factor(self.plan_step())
        return [float(base) * factor for base in self.base_lrs]

    def state_dict(self) -> dict[str, object]:
        """Nothing that the plan step does not give."""
        return {}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Nothing to restore."""
