"""Messages of other schemas to ours: roles, thinking in fields or tags, tool calls, feedback in user turns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ecot.data_mix.templates import END_THINK, THINK
from ecot.errors import DataError
from ecot.trajectories import Role, TurnKind

ROLES: Mapping[str, Role] = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "human": Role.USER,
    "prompter": Role.USER,
    "assistant": Role.ASSISTANT,
    "gpt": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
    "tool": Role.OBSERVATION,
    "function": Role.OBSERVATION,
    "ipython": Role.OBSERVATION,
    "observation": Role.OBSERVATION,
    "function_response": Role.OBSERVATION,
}
"""Names of roles in the wild."""
THINKING_FIELDS = ("reasoning_content", "thinking", "reasoning")
"""Names under which thoughts are kept beside an answer."""
_CALLS = ("tool_calls", "function_call")
_IGNORED = {"name", "tool_call_id", "id", "index", "timestamp"}
"""Keys of a message that carry no text to learn."""
_WEIGHTS = ("weight", "loss_weight", "train", "trainable", "loss")


def convert_messages(raw: Any, field: str, user_feedback: bool) -> list[dict[str, Any]]:
    """A list of messages in our schema. Neighbouring observations (several tool results) become one.

    Args:
        raw: the list as it was read.
        field: its name, for messages.
        user_feedback: a user turn after an assistant's is an observation.

    Raises:
        DataError: names the field and the reason.
    """
    if not isinstance(raw, list) or not raw:
        given = "an empty list" if raw == [] else type(raw).__name__
        raise DataError(f"field {field!r}: must be a list of messages, not {given}")
    messages: list[dict[str, Any]] = []
    for index, entry in enumerate(raw):
        place = f"field '{field}.{index}"
        message = _convert_message(entry, place)
        previous = messages[-1]["role"] if messages else None
        if user_feedback and message["role"] is Role.USER and previous is Role.ASSISTANT:
            message["role"] = Role.OBSERVATION
        if message["role"] is Role.OBSERVATION and previous is Role.OBSERVATION:
            messages[-1]["content"] += "\n" + message["content"]
        else:
            messages.append(message)
    return messages


def _convert_message(entry: Any, place: str) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise DataError(f"{place}': a message must be an object, not {type(entry).__name__}")
    name = entry.get("role")
    role = ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise DataError(f"{place}.role': unknown role {name!r}; known: {', '.join(ROLES)}")
    trained = _trained(entry, place)
    own = {*THINKING_FIELDS, *_CALLS} if role is Role.ASSISTANT else set()
    known = {"role", "content", *own, *_WEIGHTS, *_IGNORED}
    unknown = sorted(key for key, value in entry.items() if key not in known and value not in (None, "", [], {}))
    if unknown:
        raise DataError(f"{place}': keys {', '.join(unknown)} of a message of role {name} hold text that would be lost")
    content = _text(entry.get("content"), f"{place}.content'")
    if role is not Role.ASSISTANT:
        return {"role": role, "content": content}
    thinking, content = thought_of(entry, content, f"{place}'")
    content = "\n".join(filter(None, [content, _tool_calls(entry, place)]))
    kind = None if trained else TurnKind.PROMPT
    return {"role": role, "content": content, "reasoning_content": thinking, "kind": kind}


def _trained(entry: Mapping[str, Any], place: str) -> bool:
    """Whether a message is trained on, where it says so itself: 1 or 0, true or false."""
    said = set()
    for key in _WEIGHTS:
        if entry.get(key) is not None:
            if not isinstance(entry[key], int | float) or entry[key] not in (0, 1):
                raise DataError(
                    f"{place}.{key}': {entry[key]!r}; of the weights of single messages only 0 and 1 are taken over; "
                    "use loss rules instead"
                )
            said.add(bool(entry[key]))
    if len(said) > 1:
        raise DataError(f"{place}': says both that it is trained and that it is not")
    return said != {False}


def thought_of(entry: Mapping[str, Any], text: str, place: str) -> tuple[str | None, str]:
    """Thinking and answer: the thinking from a field of its own, or from tags in the text.

    Raises:
        DataError: it is given twice, so that one would be dropped, or is no text.
    """
    fields = [key for key in THINKING_FIELDS if entry.get(key)]
    values = [entry[key] for key in fields]
    for key, value in zip(fields, values, strict=True):
        if not isinstance(value, str):
            raise DataError(f"{place}: thinking must be text, not {type(value).__name__} (in {key})")
    if len(set(values)) > 1:
        raise DataError(f"{place}: {' and '.join(fields)} hold different thoughts, and one would be dropped")
    tagged, answer = split_thinking(text, place)
    if values and tagged is not None:
        raise DataError(f"{place}: has <think> tags in its text, and a field of thinking as well")
    return (values[0] if values else tagged) or None, answer


def split_thinking(text: str, field: str) -> tuple[str | None, str]:
    """Thinking and answer of a text with `<think>` tags at its beginning; (None, text) without tags.

    The opening tag may be missing, since some templates put it into the prompt.

    Raises:
        DataError: tags are unbalanced, repeated or not at the beginning.
    """
    opened, closed = text.count(THINK), text.count(END_THINK)
    if opened == closed == 0:
        return None, text
    stripped = text.lstrip()
    if closed != 1 or opened > 1 or (opened == 1 and not stripped.startswith(THINK)):
        raise DataError(
            f"{field}: {opened} {THINK} and {closed} {END_THINK}; one thought at the beginning can be told apart"
        )
    thought, _, answer = stripped.removeprefix(THINK).partition(END_THINK)
    return thought.strip("\n"), answer.lstrip("\n")


def _text(content: Any, field: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = []
        for part in content:
            if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
                raise DataError(f"{field}: only parts of type text can be trained on")
            parts.append(part["text"])
        return "".join(parts)
    raise DataError(f"{field}: must be text, not {type(content).__name__}")


def _tool_calls(entry: Mapping[str, Any], place: str) -> str:
    """Tool calls as text, in the form of Qwen and Hermes."""
    if all(entry.get(key) for key in _CALLS):
        raise DataError(f"{place}': holds {' and '.join(_CALLS)}; one of them would be dropped")
    calls = entry.get("tool_calls") or ([entry["function_call"]] if entry.get("function_call") else [])
    if not isinstance(calls, list):
        raise DataError(f"{place}.tool_calls': must be a list, not {type(calls).__name__}")
    written = []
    for index, call in enumerate(calls):
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if not (isinstance(function, Mapping) and isinstance(function.get("name"), str)):
            raise DataError(f"{place}.tool_calls.{index}': must name a function")
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError as error:
                raise DataError(f"{place}.tool_calls.{index}.arguments': not JSON ({error})") from error
        body = json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)
        written.append(f"<tool_call>\n{body}\n</tool_call>")
    return "\n".join(written)
