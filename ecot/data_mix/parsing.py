"""The inverse of the shipped template: texts back to messages, and a model's completion to thinking and answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ecot.data_mix.config import ObservationRole
from ecot.data_mix.templates import END_THINK, IM_END, IM_START, THINK
from ecot.errors import DataError
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
        end_of_turn: the text of the token that ends a turn; what follows it is ignored.
        thinking_opened: whether the generation prompt already held `<think>`.
    """
    body, end, _ = text.partition(end_of_turn)
    if not thinking_opened and not body.startswith(THINK):
        return Completion(None, body, bool(end))
    thought, closed, answer = body.removeprefix(THINK).partition(END_THINK)
    thought = thought.removeprefix("\n")
    if closed:
        thought = thought.removesuffix("\n")
        answer = answer.removeprefix("\n").removeprefix("\n")
    return Completion(thought, answer, bool(end))


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
