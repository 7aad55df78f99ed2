"""How long the decays that branch off at milestones are, and whether they fit the plan.

It is asked before ranks start, so nothing heavy is imported here.
"""

from __future__ import annotations

import math

from ecot.data_mix.plan import PackPlan
from ecot.errors import ConfigError
from ecot.train.config import TrainConfig


def decay_steps(config: TrainConfig, plan: PackPlan) -> int:
    """Plan steps of a branch."""
    return math.ceil(config.milestones.decay_tokens / (plan.packs_per_step * plan.pack_tokens))


def check_branches(config: TrainConfig, plan: PackPlan) -> None:
    """Refuse branches that do not fit the plan.

    Raises:
        ConfigError: a milestone lies in the warm-up or in the run's own decay, or too little data comes after it.
    """
    tokens = plan.packs_per_step * plan.pack_tokens
    for budget in plan.budgets[:-1] if config.milestones.decay_tokens else ():
        at, end = budget.last_step * tokens, (budget.last_step + decay_steps(config, plan)) * tokens
        total = plan.num_steps * tokens
        place = f"train.milestones.decay_tokens: milestone {budget.name} at {at:,} tokens"
        if at < config.schedule.warmup_tokens:
            raise ConfigError(f"{place} lies in the warm-up; shorten train.schedule.warmup_tokens")
        if at > total - config.schedule.decay_tokens:
            raise ConfigError(f"{place} lies in the run's own decay; shorten train.schedule.decay_tokens")
        if end > total:
            raise ConfigError(f"{place} has {total - at:,} tokens of data after it; lower the decay to that")
