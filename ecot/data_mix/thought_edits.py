"""Takes boilerplate and filler out of thoughts by patterns, and says how much of what it took."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ecot.data_mix.filter_config import ThoughtPattern, ThoughtsConfig
from ecot.trajectories import Message, Trajectory

SHIPPED = (
    ThoughtPattern(name="self_reference", pattern=r"(?i)\bas an ai(?: language)? model\b[^.\n]*\.[ \t]*"),
    ThoughtPattern(
        name="courtesy",
        pattern=r"(?i)\b(?:i hope (?:this|that) helps|let me know if you|feel free to ask)\b[^.!\n]*[.!]?[ \t]*",
    ),
    ThoughtPattern(
        name="stacked_filler",
        pattern=r"(?im)^(?:(?:okay|ok|alright|h+m+|well|right|so|wait|now|let me see|let's see)[,.… \t]+){2,}",
    ),
    ThoughtPattern(name="repeated_line", pattern=r"(?m)^([^\n]{8,}\n)(?:\1){2,}", replacement=r"\1"),
)
"""Phrases that say nothing about a task, and lines that a generator repeats three times or more."""


@dataclass(frozen=True)
class Edit:
    """What one pattern took out of one trajectory."""

    name: str
    removed: tuple[str, ...]


class ThoughtEditor:
    """Applies patterns, one after the other, to every thought."""

    def __init__(self, config: ThoughtsConfig) -> None:
        patterns = (*(SHIPPED if config.shipped else ()), *config.remove)
        self._patterns = [(p.name, re.compile(p.pattern), p.replacement) for p in patterns]

    def apply(self, trajectory: Trajectory) -> tuple[Trajectory, tuple[Edit, ...]]:
        """The trajectory with shorter thoughts, and what was removed; a thought of which nothing is left is none."""
        if not self._patterns:
            return trajectory, ()
        removed: dict[str, list[str]] = {}
        messages = tuple(self._edit(message, removed) for message in trajectory.messages)
        if not removed:
            return trajectory, ()
        edits = tuple(Edit(name, tuple(texts)) for name, texts in removed.items())
        return replace(trajectory, messages=messages), edits

    def _edit(self, message: Message, removed: dict[str, list[str]]) -> Message:
        thought = message.reasoning_content
        if not thought:
            return message
        for name, pattern, replacement in self._patterns:
            thought = _substitute(thought, pattern, replacement, removed.setdefault(name, []))
            if not removed[name]:
                del removed[name]
        if thought == message.reasoning_content:
            return message
        thought = re.sub(r"\n{3,}", "\n\n", thought).strip()
        return replace(message, reasoning_content=thought or None)


def _substitute(text: str, pattern: re.Pattern[str], replacement: str, removed: list[str]) -> str:
    parts: list[str] = []
    end = 0
    for match in pattern.finditer(text):
        kept = match.expand(replacement)
        if kept == match[0]:
            continue
        parts += [text[end : match.start()], kept]
        removed.append(match[0])
        end = match.end()
    return "".join([*parts, text[end:]])


def sample_of(edits: Sequence[str], length: int = 160) -> str:
    """The first of some removed texts, short enough for an account."""
    return edits[0] if len(edits[0]) <= length else f"{edits[0][:length]}..."
