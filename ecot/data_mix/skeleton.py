"""What a chat template does with a conversation of a given shape, found out by rendering sentinels in place of texts.

Every text (content or thinking of a message) is replaced by a unique sentinel; where the sentinels come out tells what
the template writes between texts, which texts it loses, and where it trims them. The real rendering must then equal
literals and texts put together, character by character, so a wrong guess is impossible: it is an error instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jinja2

from ecot.errors import TemplateError
from ecot.trajectories import Message, Role

WireMessage = Mapping[str, str]
"""A message as templates see it: `role`, `content` and, for an assistant that thinks, `reasoning_content`."""

SENTINEL_BEGIN, SENTINEL_END = "\ue0f0", "\ue0f1"
"""Private-use characters around the number and part of a field."""
_SENTINEL = re.compile(f"{SENTINEL_BEGIN}(\\d+)([tc]){SENTINEL_END}")
_LEFT, _RIGHT = "\n \n", "\n\t\n"
"""White space put around sentinels to see what a template trims."""
_TRIM_CHARACTERS = ("", "\n", None)
"""What may be trimmed: nothing, line breaks or all white space, as `str.strip` takes it."""


class MessageShape(NamedTuple):
    """All that a template may look at besides the texts themselves."""

    role: str
    """As on the wire: an observation has become `user` or `tool`."""
    observation: bool
    thinks: bool
    has_content: bool


Shape = tuple[MessageShape, ...]


class Field(NamedTuple):
    """One text of a conversation."""

    message: int
    part: str
    """`t` for thinking, `c` for content."""

    def of(self, messages: Sequence[WireMessage]) -> str:
        """The text itself."""
        return messages[self.message]["reasoning_content" if self.part == "t" else "content"]


class Slot(NamedTuple):
    """A text in its place: the literal before it, and the characters that the template trims off its ends."""

    literal: str
    field: Field
    trim_left: str | None
    """Characters to strip: `""` for none, None for all white space (as `str.lstrip` takes it)."""
    trim_right: str | None

    def text(self, messages: Sequence[WireMessage]) -> str:
        """What the template writes for this field."""
        return self.field.of(messages).lstrip(self.trim_left).rstrip(self.trim_right)


@dataclass(frozen=True)
class Skeleton:
    """The rendering of a shape: texts in order, each after a literal, and a last literal."""

    slots: tuple[Slot, ...]
    tail: str
    source: str
    """The rendering with its sentinels."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The texts that are rendered, in order."""
        return tuple(slot.field for slot in self.slots)


def to_wire(messages: Sequence[Message], observation_role: str) -> list[WireMessage]:
    """Messages as templates and inference servers take them; an empty thought counts as none."""
    wire: list[WireMessage] = []
    for message in messages:
        role = observation_role if message.role is Role.OBSERVATION else str(message.role)
        entry = {"role": role, "content": message.content}
        if message.reasoning_content:
            entry["reasoning_content"] = message.reasoning_content
        wire.append(entry)
    return wire


def shape_of(messages: Sequence[Message], observation_role: str) -> Shape:
    """The shape of a conversation: equal shapes have equal skeletons."""
    return tuple(
        MessageShape(
            observation_role if message.role is Role.OBSERVATION else str(message.role),
            message.role is Role.OBSERVATION,
            bool(message.reasoning_content),
            bool(message.content),
        )
        for message in messages
    )


def fields_of(shape: Shape) -> tuple[Field, ...]:
    """The texts that a conversation of this shape has, in order of speaking."""
    return tuple(
        Field(index, part)
        for index, message in enumerate(shape)
        for part, present in (("t", message.thinks), ("c", message.has_content))
        if present
    )


def render_text(tokenizer: Any, messages: Sequence[WireMessage], generation_prompt: bool = False) -> str:
    """The chat template's rendering.

    Raises:
        TemplateError: the template itself raises (for example on a role that it does not know).
    """
    try:
        return tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=generation_prompt
        )
    except (jinja2.TemplateError, TypeError) as error:
        roles = ", ".join(message["role"] for message in messages)
        raise TemplateError(
            f"the chat template refuses a conversation of roles {roles}: {error}; set template: shipped, or another "
            "observation_role"
        ) from error


def probe(tokenizer: Any, shape: Shape) -> Skeleton:
    """Find the skeleton of a shape.

    Raises:
        TemplateError: the template raises, loses a content, writes a text twice or changes what is inside one.
    """
    plain = render_sentinels(tokenizer, shape, False)
    padded = render_sentinels(tokenizer, shape, True)
    literals, fields = _split(plain)
    padded_literals, padded_fields = _split(padded)
    if len(set(fields)) < len(fields):
        twice = next(field for field in fields if fields.count(field) > 1)
        raise TemplateError(f"the chat template writes the {describe(twice, shape)} twice; set template: shipped")
    for field in fields_of(shape):
        if field.part == "c" and field not in fields:
            raise TemplateError(f"the chat template loses the {describe(field, shape)}; set template: shipped")
    if padded_fields != fields:
        raise TemplateError("the chat template leaves texts out by what they contain; set template: shipped")
    trims = [_trims(*pair) for pair in zip(literals, padded_literals, strict=True)]
    if None in trims:
        raise TemplateError("the chat template alters the ends of texts in a way unknown here; set template: shipped")
    slots = []
    for index, field in enumerate(fields):
        left, right = trims[index], trims[index + 1]
        assert left is not None and right is not None
        slots.append(Slot(literals[index], field, left.next_left, right.previous_right))
    return Skeleton(tuple(slots), literals[-1], plain)


def describe(field: Field, shape: Shape) -> str:
    """A field in words, for messages."""
    role = shape[field.message].role
    what = "thinking" if field.part == "t" else "content"
    return f"{what} of message {field.message} ({role})"


def render_sentinels(tokenizer: Any, shape: Shape, padded: bool, generation_prompt: bool = False) -> str:
    """The rendering of a shape with a sentinel for each text, with white space around the sentinels when `padded`."""
    left, right = (_LEFT, _RIGHT) if padded else ("", "")
    messages = []
    for index, message in enumerate(shape):
        wire = {"role": message.role, "content": ""}
        if message.thinks:
            wire["reasoning_content"] = f"{left}{SENTINEL_BEGIN}{index}t{SENTINEL_END}{right}"
        if message.has_content:
            wire["content"] = f"{left}{SENTINEL_BEGIN}{index}c{SENTINEL_END}{right}"
        messages.append(wire)
    return render_text(tokenizer, messages, generation_prompt)


def _split(source: str) -> tuple[list[str], list[Field]]:
    """Literals and, between them, the fields that the sentinels stand for."""
    literals, fields, end = [], [], 0
    for match in _SENTINEL.finditer(source):
        literals.append(source[end : match.start()])
        fields.append(Field(int(match[1]), match[2]))
        end = match.end()
    return [*literals, source[end:]], fields


class _Trims(NamedTuple):
    previous_right: str | None
    next_left: str | None


def _trims(literal: str, padded: str) -> _Trims | None:
    """How the texts on both sides of a literal are trimmed, from the literal between padded sentinels."""
    for right in _TRIM_CHARACTERS:
        for left in _TRIM_CHARACTERS:
            if _RIGHT.rstrip(right) + literal + _LEFT.lstrip(left) == padded:
                return _Trims(right, left)
    return None
