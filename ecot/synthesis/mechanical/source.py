"""The mechanical generator as a source of trajectories: plan by injecting faults, then walk the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from ecot.backends.protocol import Backend
from ecot.errors import ConfigError
from ecot.synthesis.config import BalanceConfig, MechanicalConfig
from ecot.synthesis.faults import OPERATORS
from ecot.synthesis.journal import Drawn
from ecot.synthesis.loop import run_loop
from ecot.synthesis.mechanical.generator import NAME, MechanicalGenerator
from ecot.synthesis.mechanical.plan import Plan, Planner
from ecot.synthesis.memo import MemoBackend
from ecot.synthesis.router import build_prompt
from ecot.synthesis.slots import Slot, derive_seed
from ecot.tasks.bundle import Task
from ecot.trajectories import Provenance, Trajectory

_ROOM = Path(__file__).parents[1]


class MechanicalSource:
    """Draws trajectories by fault injection."""

    costly = False

    def __init__(
        self,
        config: MechanicalConfig,
        balance: BalanceConfig,
        max_corrections: int,
        tasks: Mapping[str, Task],
        backend: Backend,
    ) -> None:
        """Raises ConfigError if the configuration names operators that do not exist."""
        unknown = sorted(set(config.operators or ()) - set(OPERATORS))
        if unknown:
            raise ConfigError(
                f"key 'synthesis.generator.operators': no such fault operator: {', '.join(unknown)}; "
                f"known: {', '.join(sorted(OPERATORS))}"
            )
        self.config = config
        self.balance = balance
        self.max_corrections = max_corrections
        self.tasks = tasks
        self.backend = backend

    def identity(self) -> Any:
        """Configuration and source code: wording and operators decide what is written."""
        return [self.config.model_dump(mode="json"), self.balance.model_dump(mode="json"), _source_hash()]

    async def draw(self, slot: Slot) -> Drawn:
        """One trajectory, a function of the slot alone: a second try starts from the same seeds."""
        memo = MemoBackend(self.backend)
        task = self.tasks[slot.task_id]
        planner = Planner(task, memo, self.config, self.balance, Random(derive_seed(slot.seed, "plan")))
        plan = await planner.draw(*draw_faults(self.config, self.balance, slot))
        trajectory = await self._walk(slot, task, plan, memo) if plan is not None else None
        return Drawn(slot.split, slot.index, trajectory, dict(planner.discards), memo.executions, memo.seconds)

    async def close(self) -> None:
        """Nothing is held open."""

    async def _walk(self, slot: Slot, task: Task, plan: Plan, memo: MemoBackend) -> Trajectory | None:
        prompt = build_prompt(task, Random(derive_seed(slot.seed, "prompt")))
        generator = MechanicalGenerator(plan, Random(derive_seed(slot.seed, "words")))
        details = {
            "split": str(slot.split),
            "operators": [step.implication.edit.operator for step in plan.steps],
            "implicated_by": [str(step.implication.via) for step in plan.steps],
        }
        provenance = Provenance(NAME, prompt.instruction, slot.seed, details)
        return await run_loop(task, prompt, generator, memo, provenance, self.max_corrections)


def draw_faults(config: MechanicalConfig, balance: BalanceConfig, slot: Slot) -> tuple[int, bool]:
    """Faults in the first attempt (0 for one that passes at once), and whether the conversation may be long."""
    rng = Random(derive_seed(slot.seed, "faults"))
    faults = config.faults
    counts = list(range(faults.min, faults.max + 1))
    num_faults = rng.choices(counts, faults.weights or [1.0] * len(counts))[0]
    if rng.random() < balance.first_pass_share:
        num_faults = 0
    return num_faults, rng.random() < config.long_share


def _source_hash() -> str:
    """Hash of this room's source, but for what only an endpoint's trajectories depend on."""
    content = hashlib.sha256()
    for path in sorted(_ROOM.rglob("*.py")):
        if _ROOM / "endpoint" not in path.parents:
            content.update(path.relative_to(_ROOM).as_posix().encode("utf-8") + b"\0" + path.read_bytes())
    return content.hexdigest()
