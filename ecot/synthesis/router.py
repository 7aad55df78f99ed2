"""The prompt router: the instructions that fit a task, and the request, worded as the seed says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from ecot.outcomes import Domain
from ecot.synthesis.instructions import select_instructions
from ecot.tasks.bundle import Task
from ecot.trajectories import Message, Role


@dataclass(frozen=True)
class Prompt:
    """The opening of a conversation."""

    instruction: str
    """Name of the instruction set."""
    messages: tuple[Message, ...]


_ANSWER_RULE = "Think first, then answer with the complete code in one {language} code block."

_REQUESTS = (
    "Implement `{entry}` as specified.",
    "Write the {unit} `{entry}` to this specification.",
    "Here is a specification. Implement it as the {unit} `{entry}`.",
    "Please design `{entry}`. The specification:",
    "The {unit} `{entry}` is needed. It has to do the following.",
    "Task: {title}. Implement the {unit} `{entry}`.",
)

_REQUESTS_OF: Mapping[Domain, tuple[str, ...]] = {
    Domain.GPU_OPTIMIZATION: (
        "Implement `{entry}` on the GPU as specified.",
        "Write `{entry}` with kernels of your own, to this specification.",
        "Here is a specification. Implement it as `{entry}`, to run on a GPU.",
        "Please write the kernel code for `{entry}`. The specification:",
        "Task: {title}. Implement `{entry}`.",
    ),
    Domain.EMBEDDED: (
        "Implement `{entry}` in C as specified.",
        "Write the firmware module `{entry}` to this specification.",
        "Here is a specification. Implement it for the microcontroller.",
        "The firmware module `{entry}` is needed. It has to do the following.",
        "Task: {title}. Write the firmware module `{entry}`.",
    ),
    Domain.CAD_3D: (
        "Model this part in CadQuery.",
        "Write the CadQuery script for this part.",
        "Here is the description of a part. Model it as one solid.",
        "Part: {title}. Build it with CadQuery from this description.",
        "{title}: please model this part from its description.",
    ),
    Domain.CODE_OPTIMIZATION: (
        "Write a faster `{entry}` as specified.",
        "Rewrite `{entry}` so that it needs fewer instructions and gives the same results.",
        "Here is a function and what it has to do. Write `{entry}` anew, for speed.",
        "`{entry}` is too slow. Write it so that it meets this specification.",
        "Task: {title}. Optimise `{entry}`.",
    ),
}
"""Requests of domains whose unit is not a module or function by name; `_REQUESTS` serve the others."""

_UNITS: Mapping[Domain, str] = {Domain.CHIP_DESIGN: "module"}


def build_prompt(task: Task, rng: Random) -> Prompt:
    """System and user message for a task; `rng` only chooses how the request is worded."""
    chosen = select_instructions(task)
    system = f"{chosen.text} {_ANSWER_RULE.format(language=task.language)}"
    unit = _UNITS.get(task.domain, "function")
    wordings = _REQUESTS_OF.get(task.domain, _REQUESTS)
    request = rng.choice(wordings).format(entry=task.entry, unit=unit, title=task.title)
    parts = [request, task.spec.strip()]
    for name, text in sorted(task.environment.items()):
        parts.append(f"{name}:\n```\n{text.strip()}\n```")
    return Prompt(chosen.name, (Message(Role.SYSTEM, system), Message(Role.USER, "\n\n".join(parts))))
