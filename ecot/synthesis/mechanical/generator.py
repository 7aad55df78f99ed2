"""The mechanical generator: walks a prepared plan and writes its thinking from what the tool really said."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ecot.answers import format_answer
from ecot.synthesis.loop import Generated
from ecot.synthesis.mechanical.plan import Plan
from ecot.synthesis.mechanical.writing.first import first_thinking, sketch_of
from ecot.synthesis.mechanical.writing.repair import Failure, repair_thinking
from ecot.synthesis.observation import observation_text
from ecot.tasks.bundle import Task
from ecot.trajectories import Message, Role

NAME = "mechanical"
"""The generator's name in provenance."""


class MechanicalGenerator:
    """Gives the attempts of one plan in turn."""

    def __init__(self, plan: Plan, rng: Random) -> None:
        self._plan = plan
        self._rng = rng

    async def generate(self, task: Task, messages: Sequence[Message]) -> Generated:
        """The next attempt of the plan, with the thinking that leads from the last observation to it."""
        turn = sum(message.role is Role.ASSISTANT for message in messages)
        if turn == 0:
            applied = self._plan.steps[0].applied if self._plan.steps else ()
            thinking = first_thinking(task, sketch_of(self._plan.stack, applied), self._rng)
        else:
            step = self._plan.steps[turn - 1]
            assert messages[-1].content == observation_text(step.execution), (
                "the loop saw another outcome than the plan"
            )
            before = self._plan.steps[turn - 2].reading if turn > 1 else None
            failure = Failure(task, self._plan.stack, step.applied, step.reading, step.implication, before)
            thinking = repair_thinking(failure, self._rng)
        return Generated(thinking, format_answer(self._plan.codes[turn], task.language))
