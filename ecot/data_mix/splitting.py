"""A conversation too long for a pack as several documents, each of whole turns.

Every document begins as the conversation does; a later one then shows the turn before its first as context, with what
was said to it, so that no thought answers an error that cannot be seen. No token is trained in two documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ecot.trajectories import Message, Role, TurnKind

FittedT = TypeVar("FittedT")


@dataclass(frozen=True)
class Window:
    """Consecutive turns of a conversation, to become one document."""

    messages: tuple[Message, ...]
    next_role: Role | None
    """Who speaks after them; None at the end of the conversation."""
    turns: range
    """The turns that are trained, counted from 0."""
    shown: int
    """Turns before them that are shown as context: 0 or 1."""
    moved: int
    """What must be added to the index of a message that follows the opening to find it in the conversation."""


@dataclass(frozen=True)
class Fitted(Generic[FittedT]):
    """Windows that fit, and what else there was."""

    windows: tuple[tuple[Window, FittedT], ...]
    lost: tuple[int, ...]
    """Turns that do not fit, even by themselves."""


class Conversation:
    """A conversation cut at its turns; a turn is an assistant's message and what follows it until the next."""

    def __init__(self, messages: Sequence[Message]) -> None:
        starts = [index for index, message in enumerate(messages) if message.role is Role.ASSISTANT]
        self.opening = tuple(messages[: starts[0]])
        ends = [*starts[1:], len(messages)]
        self.turns = [tuple(messages[start:end]) for start, end in zip(starts, ends, strict=True)]
        self._starts = starts

    def window(self, first: int, last: int, with_thought: bool = True) -> Window:
        """Turns `first` to `last` (not included).

        What follows the last one belongs to the next window, except at the end of the conversation.

        Args:
            first: the first trained turn.
            last: the turn after the last trained one.
            with_thought: whether the turn that is shown as context keeps its thought.
        """
        shown: tuple[Message, ...] = ()
        if first > 0:
            head, *rest = self.turns[first - 1]
            thought = head.reasoning_content if with_thought else None
            shown = (replace(head, kind=TurnKind.PROMPT, reasoning_content=thought), *rest)
        body = [message for turn in self.turns[first:last] for message in turn]
        following = self.turns[last - 1][1:]
        if last < len(self.turns) and following:
            body = body[: len(body) - len(following)]
        next_role = following[0].role if last < len(self.turns) and following else None
        moved = self._starts[max(first - 1, 0)] - len(self.opening)
        return Window((*self.opening, *shown, *body), next_role, range(first, last), int(first > 0), moved)


def split(
    conversation: Conversation,
    sizes: Sequence[int],
    room: int,
    fit: Callable[[Window], FittedT | None],
) -> Fitted[FittedT]:
    """The fewest windows that hold all turns, first come first served.

    Args:
        conversation: what to split.
        sizes: tokens of the opening and of each turn, for a first guess.
        room: tokens that a document may have.
        fit: makes a window's document; None when it is too long.
    """
    windows: list[tuple[Window, FittedT]] = []
    lost: list[int] = []
    first, count = 0, len(conversation.turns)
    while first < count:
        total = sizes[0] + (sizes[first] if first else 0)
        last = first
        while last < count and total + sizes[last + 1] <= room:
            last += 1
            total += sizes[last]
        found = longest(conversation, first, max(last, first + 1), fit)
        if found is None:
            lost.append(first)
            first += 1
        else:
            windows.append(found)
            first = found[0].turns.stop
    return Fitted(tuple(windows), tuple(lost))


def longest(
    conversation: Conversation, first: int, last: int, fit: Callable[[Window], FittedT | None]
) -> tuple[Window, FittedT] | None:
    """The longest window from `first` on that fits and ends by `last`; failing all, one whose context is bare."""
    windows = [conversation.window(first, stop) for stop in range(last, first, -1)]
    if first > 0:
        windows.append(conversation.window(first, first + 1, with_thought=False))
    return next(((window, made) for window in windows if (made := fit(window)) is not None), None)
