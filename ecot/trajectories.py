"""The trajectory: one task, its attempts and what the tools said, in the field's message format.

One row per trajectory, as JSONL or Parquet (`ecot.trajectory_io`). Existing reasoning data converts without loss: an
assistant message carries its thinking in `reasoning_content` and its code answer in `content`; feedback is stored
role-neutral as `observation` and becomes `user` or `tool` only on the wire and in templates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ecot.errors import DataError
from ecot.outcomes import TAXONOMY_VERSION, Domain, Label, Source, Stage, check_outcome

_STRICT_KEYS = ConfigDict(extra="forbid")


class Role(StrEnum):
    """Who speaks in a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    OBSERVATION = "observation"


class TurnKind(StrEnum):
    """What an assistant's turn is to training, where it is not the usual thinking and answer."""

    OBSERVATION = "observation"
    """The model stands in for a tool (a world model's pairs): all of it is observation, end of turn included."""
    PROMPT = "prompt"
    """Context only: it is shown and never trained."""


@dataclass(frozen=True)
class Message:
    """One turn."""

    role: Role
    content: str
    """The text; for an assistant its answer, without the thinking."""
    reasoning_content: str | None = None
    """The assistant's thinking, without `<think>` tags."""
    kind: TurnKind | None = None
    """Of an assistant only: what its whole turn counts as; thinking and answer when absent."""

    __pydantic_config__ = _STRICT_KEYS


@dataclass(frozen=True)
class Attempt:
    """One candidate and its outcome."""

    message_index: int
    """Index of the assistant message that made it."""
    code: str
    stage: Stage
    label: Label
    subcode: str
    diagnostics: str
    metrics: Mapping[str, float]
    seconds: float
    source: Source
    confidence: float
    fingerprint: str

    __pydantic_config__ = _STRICT_KEYS


@dataclass(frozen=True)
class Provenance:
    """Where a trajectory comes from."""

    generator: str
    """`mechanical` for fault injection, otherwise the model's name."""
    instruction: str
    """The prompt router's instruction set."""
    seed: int
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the generator wants to keep (fault operators, sampling options); never shown to a model."""

    __pydantic_config__ = _STRICT_KEYS


@dataclass(frozen=True)
class Trajectory:
    """One task worked on until PASS or until the attempts run out. Failed attempts are kept."""

    id: str
    task_id: str
    task_hash: str
    """Hash of the task with its environment, reference and hidden tests."""
    domain: Domain
    verdict: Label | None
    """The label of the last attempt; None where nothing was executed (converted data without attempts)."""
    messages: tuple[Message, ...]
    attempts: tuple[Attempt, ...]
    provenance: Provenance
    taxonomy_version: str = TAXONOMY_VERSION

    __pydantic_config__ = _STRICT_KEYS

    def to_row(self) -> dict[str, Any]:
        """The row as plain Python values, the shape of one JSONL line."""
        row = json.loads(json.dumps(asdict(self), default=dict))
        for message in row["messages"]:
            for name in ("reasoning_content", "kind"):
                if message[name] is None:
                    del message[name]
        return row


_ADAPTER = TypeAdapter(Trajectory)


def parse_trajectory(row: Mapping[str, Any], place: str) -> Trajectory:
    """Validate one row.

    Args:
        row: a mapping as `Trajectory.to_row` gives it.
        place: where the row stands (`file:line`), for messages.

    Raises:
        DataError: names the place, the field and the reason.
    """
    try:
        trajectory = _ADAPTER.validate_python(dict(row))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{place}: field {path!r}: {first['msg']}") from error
    _check_structure(trajectory, place)
    return trajectory


def _check_structure(trajectory: Trajectory, place: str) -> None:
    messages, attempts = trajectory.messages, trajectory.attempts
    if trajectory.taxonomy_version != TAXONOMY_VERSION:
        raise DataError(
            f"{place}: field 'taxonomy_version': {trajectory.taxonomy_version!r} is not {TAXONOMY_VERSION!r}; "
            "run the attempts again, labels of different versions do not mix"
        )
    previous: Role | None = None
    for index, message in enumerate(messages):
        where = f"{place}: field 'messages.{index}"
        if message.role is Role.SYSTEM and index > 0:
            raise DataError(f"{where}': a system message is allowed only at the start")
        if message.role is Role.ASSISTANT and previous is None:
            raise DataError(f"{where}': an assistant must answer something; put a user or system message before it")
        if message.role is previous and message.role in (Role.USER, Role.ASSISTANT):
            raise DataError(f"{where}': two {message.role} messages in a row; merge them")
        if message.role is Role.OBSERVATION and previous is not Role.ASSISTANT:
            raise DataError(f"{where}': an observation must follow an assistant message")
        if message.reasoning_content is not None and message.role is not Role.ASSISTANT:
            raise DataError(f"{where}.reasoning_content': only an assistant thinks")
        if message.kind is not None and message.role is not Role.ASSISTANT:
            raise DataError(f"{where}.kind': only an assistant's turn may count as something else")
        previous = message.role
    if not any(m.role is Role.ASSISTANT and m.kind is not TurnKind.PROMPT for m in messages):
        raise DataError(f"{place}: field 'messages': no assistant message that is more than context; nothing to train")
    for index, attempt in enumerate(attempts):
        where = f"{place}: field 'attempts.{index}"
        if not (0 <= attempt.message_index < len(messages) and messages[attempt.message_index].role is Role.ASSISTANT):
            raise DataError(f"{where}.message_index': {attempt.message_index} is not an assistant message")
        try:
            check_outcome(attempt.label, attempt.subcode)
        except DataError as error:
            raise DataError(f"{where}.subcode': {error}") from error
        if attempt.label is Label.TOOL_ERROR:
            raise DataError(f"{where}.label': TOOL_ERROR is never training data")
    if attempts and attempts[-1].label is not trajectory.verdict:
        raise DataError(
            f"{place}: field 'verdict': {trajectory.verdict} but the last attempt says {attempts[-1].label}"
        )
