"""The folded form: attempts and what tools said become one thought that finds the final answer.

The paper states no wording (arXiv 2604.03144, section 5.2: failed attempts are "folded into a coherent reasoning
trace"); the connecting words here are ours. The narrated observations keep their kind, so that their weight is a
training choice: the model must write them itself, hence they are worth training in this form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecot.data_mix.alignment import Span
from ecot.segments import Kind
from ecot.trajectories import Message, Role


@dataclass(frozen=True)
class Folded:
    """A conversation in which no assistant turn is followed by an observation."""

    messages: tuple[Message, ...]
    inner: Mapping[int, tuple[Span, ...]]
    """Message to the spans of its thinking, in characters of `reasoning_content`."""
    unanswered: tuple[int, ...]
    """Messages that were left out: observations after the last attempt of a stretch."""


def fold(messages: Sequence[Message]) -> Folded:
    """Fold each stretch of attempts and observations into one assistant turn.

    An observation after the last attempt of a stretch is left out: nothing answers it. A stretch with a turn that has a
    kind of its own (`Message.kind`) stays as it is, since such a turn is no attempt to tell of.
    """
    folded: list[Message] = []
    inner: dict[int, tuple[Span, ...]] = {}
    unanswered: list[int] = []
    attempt, index = 0, 0
    while index < len(messages):
        if messages[index].role is not Role.ASSISTANT:
            folded.append(messages[index])
            index += 1
            continue
        end = index + 1
        while end < len(messages) and messages[end].role in (Role.ASSISTANT, Role.OBSERVATION):
            end += 1
        if any(message.kind is not None for message in messages[index:end]):
            folded += messages[index:end]
            attempt += sum(message.role is Role.ASSISTANT for message in messages[index:end])
            index = end
            continue
        thought = _Thought(attempt)
        last = max(i for i in range(index, end) if messages[i].role is Role.ASSISTANT)
        for message in messages[index:last]:
            thought.narrate(message)
        thought.conclude(messages[last])
        attempt = thought.attempt
        if thought.text:
            inner[len(folded)] = tuple(thought.spans)
        folded.append(Message(Role.ASSISTANT, messages[last].content, thought.text or None))
        unanswered += range(last + 1, end)
        index = end
    return Folded(tuple(folded), inner, tuple(unanswered))


class _Thought:
    """A thought that grows by attempts and observations."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.text = ""
        self.spans: list[Span] = []

    def narrate(self, message: Message) -> None:
        """Add a failed attempt, or what the tool said to it."""
        if message.role is Role.OBSERVATION:
            self._write("The tool says:\n\n", Kind.THINKING)
            self._write(message.content, Kind.OBSERVATION)
            self._write("\n\n", Kind.THINKING)
            return
        self.attempt += 1
        if message.reasoning_content:
            self._write(f"{message.reasoning_content}\n\n", Kind.THINKING)
        self._write(f"Attempt {self.attempt}:\n\n{message.content}\n\n", Kind.THINKING)

    def conclude(self, message: Message) -> None:
        """Add the thought before the final answer."""
        self.attempt += 1
        self._write(message.reasoning_content or ("That settles it." if self.text else ""), Kind.THINKING)

    def _write(self, text: str, kind: Kind) -> None:
        if text:
            self.text += text
            self.spans.append(Span(len(self.text), kind, self.attempt))
