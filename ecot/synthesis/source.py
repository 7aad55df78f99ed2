"""What the engine needs of a generator: one trajectory for a slot. How it comes about is the generator's matter."""

from __future__ import annotations

from typing import Any, Protocol

from ecot.errors import EcotError
from ecot.synthesis.journal import Drawn
from ecot.synthesis.slots import Slot


class SlotLostError(EcotError, RuntimeError):
    """This slot could not be drawn although the source has tried again itself; others may still be."""


class Source(Protocol):
    """Draws trajectories."""

    costly: bool
    """Whether what it drew may not be thrown away for a changed configuration: a model's time was paid for it."""

    def identity(self) -> Any:
        """JSON values of all that decides what it draws, apart from tasks, seed, backend and `max_corrections`."""
        ...

    async def draw(self, slot: Slot) -> Drawn:
        """What comes of one slot; the slot's seed decides all that is random on this side.

        Raises:
            ToolError: the tool broke; another try may go well.
            SlotLostError: it cannot be drawn now, and another try at once is of no use.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
