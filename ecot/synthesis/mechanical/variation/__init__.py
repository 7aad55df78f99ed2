"""Other ways of writing the same design: names, order, style. What they give is always executed again."""

from __future__ import annotations

from random import Random

from ecot.synthesis.mechanical.variation.names import rename_internals
from ecot.synthesis.mechanical.variation.order import reorder_items
from ecot.synthesis.mechanical.variation.style import comment_processes, restyle
from ecot.tasks.bundle import Task


def vary(task: Task, rng: Random) -> str:
    """The task's reference, written differently. Names that the specification mentions are kept."""
    code = reorder_items(task.reference, rng)
    code = restyle(code, rng)
    code = rename_internals(code, task.spec, rng)
    return comment_processes(code, rng) if rng.random() < 0.4 else code
