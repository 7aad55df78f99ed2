"""Preparing a trajectory: a correct variant, faults in it, and an order of undoing them that the real tool suggests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random

from ecot.backends.protocol import Backend
from ecot.outcomes import Execution
from ecot.synthesis.config import BalanceConfig, MechanicalConfig
from ecot.synthesis.faults import OPERATORS, Edit, Family, FaultStack, choose_edit
from ecot.synthesis.mechanical.diagnosis import Reading, read_diagnostics
from ecot.synthesis.mechanical.implication import Implication, implicated, improves
from ecot.synthesis.mechanical.variation import vary
from ecot.synthesis.verilog.design import read_design
from ecot.tasks.bundle import Task

TRIES = 6
"""Fault stacks tried before a slot is given up."""
_PICKS = 12
"""Operators tried for one fault before a smaller stack is taken."""
_FIRST_TURN = 1000
"""Characters of the system message, the request's frame, the first thinking and the last observation, about."""
_CORRECTION = 750
"""Characters of an observation and the thinking that answers it, about."""


@dataclass(frozen=True)
class Step:
    """One failing attempt and the fault that its diagnostic leads to."""

    applied: tuple[Edit, ...]
    """Faults in the attempt's code."""
    execution: Execution
    reading: Reading
    implication: Implication

    @property
    def remaining(self) -> tuple[Edit, ...]:
        """Faults that are left after the correction."""
        return tuple(edit for edit in self.applied if edit is not self.implication.edit)


@dataclass(frozen=True)
class Plan:
    """The attempts of a trajectory: each step fails, then the correct code passes."""

    stack: FaultStack
    steps: tuple[Step, ...]
    discards: Counter[str] = field(default_factory=Counter)

    @property
    def codes(self) -> list[str]:
        """The code of every attempt, the passing one last."""
        return [*(self.stack.text(step.applied) for step in self.steps), self.stack.code]


class Planner:
    """Draws plans for one task. Everything it tries is executed; what it gives up is counted by reason."""

    def __init__(
        self, task: Task, backend: Backend, config: MechanicalConfig, balance: BalanceConfig, rng: Random
    ) -> None:
        self.task = task
        self.backend = backend
        self.config = config
        self.balance = balance
        self.rng = rng
        self.discards: Counter[str] = Counter()

    async def draw(self, num_faults: int, may_be_long: bool = False) -> Plan | None:
        """A plan that starts from up to `num_faults` faults (exactly none for 0); None if every try failed.

        Fewer faults are taken where the conversation would exceed the length aimed at, unless it `may_be_long`.

        Raises:
            ToolError: the tool broke.
        """
        code = await self._variant()
        if code is None:
            return None
        if num_faults == 0:
            return Plan(FaultStack(code, ()), (), self.discards)
        if not may_be_long:
            num_faults = min(num_faults, self._affordable(code))
        for _ in range(TRIES):
            stack = self._inject(code, num_faults)
            steps = await self._walk(stack, list(stack.edits))
            if steps:
                return Plan(stack, tuple(steps), self.discards)
        self.discards["no_usable_faults"] += 1
        return None

    def _affordable(self, code: str) -> int:
        """How many faults fit into the length aimed at; each costs one more copy of the code."""
        fixed = len(self.task.spec) + len(code) + _FIRST_TURN
        return max(1, (self.config.target_characters - fixed) // (len(code) + _CORRECTION))

    async def _variant(self) -> str | None:
        """Another way of writing the reference that really passes; else the reference itself, if that passes."""
        codes = [vary(self.task, self.rng)] if self.config.variants else []
        for code in [*codes, self.task.reference]:
            if not read_design(code).tree.has_errors and (await self.backend.execute(self.task, code)).passed:
                return code
            self.discards["variant_fails"] += 1
        return None

    def _inject(self, code: str, num_faults: int) -> FaultStack:
        design = read_design(code)
        edits: list[Edit] = []
        weights = {
            Family.SYNTAX: self.balance.syntax,
            Family.ELABORATION: self.balance.elaboration,
            Family.BEHAVIOUR: self.balance.behaviour,
        }
        allowed = self.config.operators or tuple(OPERATORS)
        for _ in range(num_faults):
            family = self.rng.choices(list(weights), list(weights.values()))[0]
            table = [OPERATORS[id] for id in allowed if OPERATORS[id].family is family] or [
                OPERATORS[id] for id in allowed
            ]
            for _ in range(_PICKS):
                edit = choose_edit(design, self.rng.choice(table), self.rng, edits)
                if edit is not None:
                    edits.append(edit)
                    break
        return FaultStack(code, tuple(sorted(edits, key=lambda edit: edit.start)))

    async def _walk(self, stack: FaultStack, applied: list[Edit]) -> list[Step]:
        """Undo one fault per step, each time one that the diagnostic points at and whose repair changes it.

        A state without such a fault cannot be a turn: it is dropped with all before it, and the walk goes on from a
        state with one fault less. A state that passes shows that its faults change nothing: they are dropped too.
        """
        steps: list[Step] = []
        while applied:
            execution = await self.backend.execute(self.task, stack.text(applied))
            if execution.passed:
                self.discards["equivalent"] += len(applied)
                return await self._without(stack, steps, applied)
            reading = read_diagnostics(execution)
            step = await self._step(stack, applied, execution, reading)
            if step is None:
                self.discards["not_implicated"] += 1
                steps = []
                applied = self._drop_one(applied)
            else:
                steps.append(step)
                applied = list(step.remaining)
        return steps

    async def _without(self, stack: FaultStack, steps: list[Step], useless: Collection[Edit]) -> list[Step]:
        """Walk again without faults that change nothing: every state before held them, so each is another text."""
        if not steps:
            return []
        left = [edit for edit in steps[0].applied if edit not in useless]
        return await self._walk(stack, left)

    async def _step(
        self, stack: FaultStack, applied: list[Edit], execution: Execution, reading: Reading
    ) -> Step | None:
        for implication in implicated(reading, stack, applied):
            step = Step(tuple(applied), execution, reading, implication)
            after = await self.backend.execute(self.task, stack.text(step.remaining))
            if improves(reading, read_diagnostics(after), implication):
                return step
            self.discards["no_effect"] += 1
        return None

    def _drop_one(self, applied: list[Edit]) -> list[Edit]:
        dropped = self.rng.choice(applied)
        return [edit for edit in applied if edit is not dropped]
