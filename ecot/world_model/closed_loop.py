"""Trajectory agreement as the paper means it: a generator works on a task with the tools, and with the model alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ecot.backends.concurrency import run_all
from ecot.backends.protocol import Backend
from ecot.errors import ConfigError, MissingToolError, SandboxError, ToolError
from ecot.outcomes import Domain, Label
from ecot.progress import Progress, no_progress
from ecot.rates import Rate, pass_rate
from ecot.synthesis.slots import Slot, Split, draw_slot
from ecot.synthesis.source import SlotLostError, Source
from ecot.tasks.bundle import Task
from ecot.trajectories import Trajectory

MakeSource = Callable[[Backend], Source]
"""A generator that works with the given backend."""


@dataclass(frozen=True)
class Driven:
    """One slot, drawn twice from the same seeds."""

    domain: Domain
    real: Trajectory
    predicted: Trajectory
    holds: bool | None
    """Whether a predicted PASS at the end is one with the tools too; None without such an end."""

    @property
    def agrees(self) -> bool:
        """Whether both end with a PASS, or both without."""
        return (self.real.verdict is Label.PASS) == (self.predicted.verdict is Label.PASS)

    @property
    def parted(self) -> bool:
        """Whether the generator was told different things, so that it went on differently."""
        pairs = zip(self.real.attempts, self.predicted.attempts, strict=False)
        return any(left.label is not right.label for left, right in pairs)


@dataclass(frozen=True)
class LoopAgreement:
    """How often trajectories end alike."""

    verdict: Rate
    """Same final verdict, the paper's measure. A wrong PASS counts where the tools lead to a right one later, and
    `false_pass` tells it."""
    false_pass: Rate
    """Code that fails with the tools, among what ended with a predicted PASS."""
    parted: Rate
    """Had at least one attempt with another label on the way."""


@dataclass(frozen=True)
class ClosedLoop:
    """What driving a generator by the world model changes."""

    overall: LoopAgreement
    by_domain: dict[Domain, LoopAgreement]
    lost: int
    """Slots that could not be drawn with one backend or the other; they count for nothing."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


async def closed_loop(
    make_source: MakeSource,
    slots: Sequence[tuple[Slot, Task]],
    tools: Backend,
    model: Backend,
    concurrency: int,
    progress: Progress = no_progress,
) -> ClosedLoop:
    """Draw every slot with the tools and with the world model alone.

    A difference may also come from a generator that answers the same question differently from one time to the next:
    take one that honours seeds, or temperature 0.

    Args:
        make_source: a generator that writes each attempt after the outcome of the last.
        slots: what to draw, on tasks that the model has not learnt from.
        tools: real ones.
        model: a world model without tools behind it.
        concurrency: slots under way at once.
        progress: told how many slots are done.

    Raises:
        ToolError: a tool is missing, or not one slot could be drawn.
    """
    sources = [make_source(tools), make_source(model)]
    gate = asyncio.Semaphore(concurrency)
    done = 0

    async def drive(slot: Slot, task: Task) -> Driven | None:
        nonlocal done
        async with gate:
            real, predicted = await run_all([_draw(source, slot) for source in sources])
            holds = None
            if real is not None and predicted is not None and predicted.verdict is Label.PASS:
                holds = (await tools.execute(task, predicted.attempts[-1].code)).passed
        done += 1
        progress(done, len(slots), "closed loop")
        return None if real is None or predicted is None else Driven(task.domain, real, predicted, holds)

    try:
        found = await run_all([drive(*item) for item in slots])
    finally:
        for source in sources:
            await source.close()
    driven = [item for item in found if item is not None]
    if not driven:
        raise ToolError(
            f"none of {len(slots)} trajectories could be drawn both with the tools and with the world model"
        )
    domains = sorted({item.domain for item in driven})
    by_domain = {domain: _agreement([item for item in driven if item.domain is domain]) for domain in domains}
    return ClosedLoop(_agreement(driven), by_domain, len(found) - len(driven))


def heldout_slots(tasks: Mapping[str, Task], ids: Sequence[str], seed: int, count: int) -> list[tuple[Slot, Task]]:
    """`count` slots over the tasks named, which take turns.

    Raises:
        ConfigError: none is named.
    """
    if not ids:
        raise ConfigError("no held-out task to draw on: hold some out (world_model.heldout_fraction)")
    slots = [draw_slot(ids, seed, Split.HELDOUT, index) for index in range(count)]
    return [(slot, tasks[slot.task_id]) for slot in slots]


async def _draw(source: Source, slot: Slot) -> Trajectory | None:
    try:
        return (await source.draw(slot)).trajectory
    except (MissingToolError, SandboxError):
        raise
    except (ToolError, SlotLostError):
        return None


def _agreement(driven: Sequence[Driven]) -> LoopAgreement:
    return LoopAgreement(
        pass_rate(item.agrees for item in driven),
        pass_rate(not item.holds for item in driven if item.holds is not None),
        pass_rate(item.parted for item in driven),
    )
