"""What one process trains: the whole plan, or the short decay that branches off at a milestone.

With `milestones.decay_tokens` a stable run gives a finished model for each budget. At the milestone's checkpoint a
branch begins in a folder of its own (`branches/<name>/`), goes on with the data that the plan has after it, and lowers
the rate to the end of the decay, where its own milestone `<name>-decayed` stands. The last budget needs none: there the
run's own schedule decays. Branches begin when the plan is done, so the run itself goes on as if there were none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ecot.data_mix.plan import PackPlan, PlannedBudget
from ecot.errors import CheckpointError
from ecot.run_paths import RunPaths
from ecot.train.branches import decay_steps
from ecot.train.checkpoint import find_checkpoint, find_damage
from ecot.train.config import TrainConfig
from ecot.train.milestones import BRANCHES, milestone_steps
from ecot.train.schedule import branch_factor, learning_rate_factor


@dataclass(frozen=True)
class Course:
    """A stretch of plan steps with a learning rate, and where its files lie."""

    branch: str | None
    """The milestone that it branches off at; None for the run itself."""
    paths: RunPaths
    """Its checkpoints, milestones, metrics and skipped steps; the store and the plan are the run's."""
    last_step: int
    """It is done when so many steps of the plan are done."""
    milestones: dict[int, str]
    """Plan step -> name of the milestone that stands there."""
    factor: Callable[[int], float]
    """Plan step -> share of the peak learning rate."""
    origin: Path | None = None
    """The checkpoint that a branch begins from."""

    def find_checkpoint(self, plan_hash: str) -> Path | None:
        """The furthest undamaged checkpoint to go on from: a collective call; None for a fresh start.

        Raises:
            CheckpointError: as `ecot.train.checkpoint.find_checkpoint`, or the milestone to branch off at is damaged.
        """
        found = find_checkpoint(self.paths, plan_hash)
        if found is None and self.origin is not None:
            damage = find_damage(self.origin)
            if damage is not None:
                raise CheckpointError(f"no branch can begin at milestone {self.branch}: {damage}; train it again")
            return self.origin
        return found


def courses(config: TrainConfig, plan: PackPlan, paths: RunPaths) -> list[Course]:
    """The run itself, and then a branch for each milestone but the last where `milestones.decay_tokens` asks for it."""
    tokens = plan.packs_per_step * plan.pack_tokens
    factor = functools.partial(learning_rate_factor, config.schedule, num_steps=plan.num_steps, tokens_per_step=tokens)
    main = Course(None, paths, plan.num_steps, milestone_steps(plan), factor)
    if not config.milestones.decay_tokens:
        return [main]
    return [main, *[_branch(config, plan, paths, budget) for budget in plan.budgets[:-1]]]


def _branch(config: TrainConfig, plan: PackPlan, paths: RunPaths, budget: PlannedBudget) -> Course:
    steps = decay_steps(config, plan)
    factor = functools.partial(
        branch_factor, first_step=budget.last_step, num_steps=steps, min_ratio=config.schedule.min_ratio
    )
    last = budget.last_step + steps
    return Course(
        branch=budget.name,
        paths=branch_paths(paths, budget.name),
        last_step=last,
        milestones={last: f"{budget.name}-decayed"},
        factor=factor,
        origin=paths.milestones / budget.name,
    )


def branch_paths(paths: RunPaths, name: str) -> RunPaths:
    """The folder of the branch off a milestone."""
    return RunPaths(paths.root / BRANCHES / name)
