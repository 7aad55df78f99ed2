"""The inverse of rendering: texts back to messages, and a model's completion to thinking and answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ecot.data_mix.config import ObservationRole
from ecot.data_mix.layout import LayoutFinder
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.skeleton import MessageShape, shape_of
from ecot.data_mix.templates import END_THINK, IM_END, IM_START, THINK
from ecot.errors import DataError, TemplateError
from ecot.trajectories import Message, Role

_TURN = re.compile(rf"{re.escape(IM_START)}(\w+)\n(.*?){re.escape(IM_END)}\n", re.DOTALL)


@dataclass(frozen=True)
class Completion:
    """What a model wrote in one turn."""

    thinking: str | None
    content: str
    finished: bool
    """Whether the end-of-turn token was reached."""


def parse_completion(text: str, end_of_turn: str = IM_END, thinking_opened: bool = False) -> Completion:
    """Split the text after a generation prompt into thinking and answer.

    A thought that is never closed is all thinking, with an empty answer.

    Args:
        text: the completion, special tokens included.
        end_of_turn: the text of the token that ends a turn; what follows it is ignored. Empty when it is gone already.
        thinking_opened: whether the generation prompt already held `<think>`.
    """
    body, end, _ = text.partition(end_of_turn) if end_of_turn else (text, "", "")
    if not thinking_opened and not body.startswith(THINK):
        return Completion(None, body, bool(end))
    thought, closed, answer = body.removeprefix(THINK).partition(END_THINK)
    thought = thought.removeprefix("\n")
    if closed:
        thought = thought.removesuffix("\n")
        answer = answer.removeprefix("\n").removeprefix("\n")
    return Completion(thought, answer, bool(end))


class CompletionParser:
    """Splits what a model wrote as the run's chat template would have put it together: the inverse for any template.

    Args:
        renderer: the run's.
    """

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self._finder = LayoutFinder(renderer.tokenizer, renderer.past_thinking)

    def parse(self, opening: Sequence[Message], text: str) -> Completion:
        """Thinking and answer of a completion.

        Where it is not written as the template writes turns, tags alone decide (`parse_completion`).

        Args:
            opening: the messages that were completed.
            text: what follows their generation prompt; what comes after a control token is ignored.
        """
        end = self._finder.control.search(text)
        body = text[: end.start()] if end else text
        plain = self._literals(opening, thinks=False)
        if plain is not None and END_THINK in plain[0] and body.startswith(plain[0]):  # an empty thought is none
            return Completion(None, body[len(plain[0]) :], bool(end))
        thinking = self._literals(opening, thinks=True)
        if thinking is not None and body.startswith(thinking[0]):
            thought, closed, answer = body[len(thinking[0]) :].partition(thinking[1])
            if closed:
                return Completion(thought, answer, bool(end))
        opened = self.renderer.generation_prompt(opening).rstrip().endswith(THINK)
        tagged = body.lstrip("\n")  # some templates break the line before the tag
        loose = parse_completion(tagged if tagged.startswith(THINK) else body, "", opened)
        return Completion(loose.thinking, loose.content, bool(end))

    def _literals(self, opening: Sequence[Message], thinks: bool) -> tuple[str, ...] | None:
        """What the template writes before the thought and between it and the answer, or before the answer alone.

        None where it does not write such turns.
        """
        observation = any(message.role is Role.OBSERVATION for message in opening)
        role = str(self.renderer.observation_role) if observation else str(Role.USER)
        turn = MessageShape("assistant", observation=False, thinks=thinks, has_content=True)
        shape = (*shape_of(opening, self.renderer.observation_role), turn)
        try:
            layout = self._finder.find(shape, role)
        except TemplateError:
            return None
        pieces = layout.pieces[layout.turn_starts[-1] :]
        parts, slots = [""], 0
        for piece in pieces:
            if piece.slot is None:
                parts[-1] += piece.literal
            else:
                slots += 1
                parts.append("")
        return tuple(parts[:slots])


def parse_conversation(text: str, observation_role: ObservationRole) -> tuple[Message, ...]:
    """Messages of a text in the shipped template: the inverse of rendering with `past_thinking: keep`.

    A `tool` turn is an observation; with `observation_role: user`, so is a `user` turn after an assistant's.

    Raises:
        DataError: the text is not a sequence of ChatML turns, or a role is unknown.
    """
    messages: list[Message] = []
    end = 0
    for match in _TURN.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        messages.append(_message(match[1], match[2], messages, observation_role))
    if end != len(text):
        raise DataError(f"not a ChatML turn at character {end}: {text[end : end + 40]!r}")
    return tuple(messages)


def _message(role: str, body: str, before: list[Message], observation_role: ObservationRole) -> Message:
    if role == Role.ASSISTANT:
        completion = parse_completion(body)
        return Message(Role.ASSISTANT, completion.content, completion.thinking)
    after_assistant = bool(before) and before[-1].role is Role.ASSISTANT
    if role == "tool" or (role == "user" and observation_role is ObservationRole.USER and after_assistant):
        return Message(Role.OBSERVATION, body)
    if role not in (Role.SYSTEM, Role.USER):
        raise DataError(f"unknown role {role!r} in a ChatML turn; known: system, user, assistant, tool")
    return Message(Role(role), body)
