"""What the world model is asked: a domain tag, the task with its environment, and the candidate.

Equation 2 of the paper (arXiv 2604.03144): neither thoughts nor earlier attempts are shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ecot.answers import format_answer
from ecot.tasks.bundle import Task
from ecot.trajectories import Message, Role

SYSTEM = (
    "You stand in for the tools of an industrial code environment: compilers, simulators, emulators, solid modellers. "
    "Given a task with its environment and a candidate, say what they would say: outcome, stage, metrics, diagnostics."
)


@dataclass(frozen=True)
class Question:
    """How the environment is told."""

    characters: int
    """Room for specification, files and settings."""
    hidden: bool
    """Whether the hidden files are shown."""

    def messages(self, task: Task, code: str) -> tuple[Message, ...]:
        """The conversation before the model's turn.

        The candidate stands last, so that all candidates of a task share what comes before, in packs and in caches.
        """
        ask = f"{self.environment(task)}\n\n# Candidate\n\n{format_answer(code, task.language)}"
        return Message(Role.SYSTEM, SYSTEM), Message(Role.USER, ask)

    def environment(self, task: Task) -> str:
        """The task without its reference: what the tools get to see, cut to `characters`."""
        files = {**task.environment, **(task.hidden if self.hidden else {})}
        head = f"domain: {task.domain}\nentry: {task.entry}\n"
        if task.settings:
            head += f"settings: {json.dumps(dict(task.settings), sort_keys=True)}\n"
        head += f"\n# Task\n\n{task.spec.strip()}"
        shown = _cut(files, max(0, self.characters - len(head)))
        parts = [f"\n\n# File {name}\n\n{text}" for name, text in sorted(shown.items())]
        return head + "".join(parts)


def _cut(files: Mapping[str, str], room: int) -> dict[str, str]:
    """All files within `room` characters: short ones whole, long ones to the same length each."""
    cut: dict[str, str] = {}
    for left, (name, text) in zip(range(len(files), 0, -1), sorted(files.items(), key=_length), strict=True):
        share = room // left
        kept = text if len(text) <= share else text[:share]
        room -= len(kept)
        rest = len(text) - len(kept)
        cut[name] = kept.rstrip() + (f"\n... {rest} more characters" if rest else "")
    return cut


def _length(item: tuple[str, str]) -> tuple[int, str]:
    return len(item[1]), item[0]
