"""Rows as they exist in the wild to rows of the trajectory schema. Nothing is guessed: what is unclear is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ecot.data_mix.config import SourceConfig, SourceFormat
from ecot.data_mix.messages import THINKING_FIELDS, convert_messages, thought_of
from ecot.errors import DataError
from ecot.outcomes import TAXONOMY_VERSION, Domain

RawRow = Mapping[str, Any]
_ONLY_IN_TRAJECTORIES = ("attempts", "provenance", "taxonomy_version", "task_hash", "verdict")
_PROMPTS = ("prompt", "instruction", "question", "problem")
_COMPLETIONS = ("completion", "response", "output", "answer", "solution")


def convert(raw: RawRow, source: SourceConfig, place: str) -> dict[str, Any]:
    """One row in the trajectory schema, still to be validated.

    Raises:
        DataError: names the place, the field and the reason.
    """
    form = source.format if source.format is not SourceFormat.AUTO else detect_format(raw, place)
    try:
        if form is SourceFormat.TRAJECTORY:
            return _decode_open_mappings(raw)
        messages = _CONVERTERS[form](raw, source)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    return _wrap(raw, messages, form, source, place)


def detect_format(raw: RawRow, place: str) -> SourceFormat:
    """What `format: auto` takes a row for, by its keys.

    Raises:
        DataError: the keys are those of no known format.
    """
    if any(key in raw for key in _ONLY_IN_TRAJECTORIES):
        return SourceFormat.TRAJECTORY
    both = [key for key in ("messages", "conversations", "conversation") if raw.get(key)]
    if len(both) > 1:
        raise DataError(f"{place}: has {' and '.join(both)}, and one of them would be dropped; set the source's format")
    if "messages" in raw:
        return SourceFormat.MESSAGES
    if "conversations" in raw or "conversation" in raw:
        return SourceFormat.SHAREGPT
    if any(key in raw for key in _PROMPTS) and any(key in raw for key in _COMPLETIONS):
        return SourceFormat.PROMPT_COMPLETION
    known = "messages (+ attempts, provenance ...), conversations, or prompt with completion"
    raise DataError(
        f"{place}: unknown format, its keys are {', '.join(sorted(map(str, raw))) or 'none'}; known: {known}"
    )


def _from_messages(raw: RawRow, source: SourceConfig) -> list[dict[str, Any]]:
    _refuse_lost(raw, (*THINKING_FIELDS, "history"))
    turns = raw.get("messages")
    system = _system(raw)
    if system and isinstance(turns, list):
        turns = [{"role": "system", "content": system}, *turns]
    return convert_messages(turns, "messages", source.user_feedback)


def _from_sharegpt(raw: RawRow, source: SourceConfig) -> list[dict[str, Any]]:
    _refuse_lost(raw, (*THINKING_FIELDS, "history"))
    name = "conversations" if "conversations" in raw else "conversation"
    turns = raw.get(name)
    if not isinstance(turns, list):
        raise DataError(f"field {name!r}: must be a list of turns, not {type(turns).__name__}")
    renamed: list[Any] = []
    for index, turn in enumerate(turns):
        if not isinstance(turn, Mapping) or not {"from", "value"} <= set(turn):
            raise DataError(f"field '{name}.{index}': must be an object with 'from' and 'value'")
        rest = {key: value for key, value in turn.items() if key not in ("from", "value")}
        renamed.append({"role": turn["from"], "content": turn["value"], **rest})
    if system := _system(raw):
        renamed.insert(0, {"role": "system", "content": system})
    return convert_messages(renamed, name, source.user_feedback)


def _from_prompt_completion(raw: RawRow, source: SourceConfig) -> list[dict[str, Any]]:
    _refuse_lost(raw, ("history",))
    prompt_key, completion_key = _only_key(raw, _PROMPTS), _only_key(raw, _COMPLETIONS)
    prompt, completion = raw.get(prompt_key), raw.get(completion_key)
    system = _system(raw)
    opening = [{"role": "system", "content": system}] if system else []
    if isinstance(prompt, list) and isinstance(completion, list):
        _refuse_lost(raw, (*THINKING_FIELDS, "input"))
        turns = [*opening, *prompt, *completion]
        return convert_messages(turns, f"{prompt_key} + {completion_key}", source.user_feedback)
    for key, value in ((prompt_key, prompt), (completion_key, completion)):
        if not isinstance(value, str):
            raise DataError(f"field {key!r}: must be text (or both lists of messages), not {type(value).__name__}")
    assert isinstance(prompt, str) and isinstance(completion, str)
    if raw.get("input"):
        if not isinstance(raw["input"], str):
            raise DataError(f"field 'input': must be text, not {type(raw['input']).__name__}")
        prompt = f"{prompt}\n\n{raw['input']}"
    thinking, content = thought_of(raw, completion, f"field {completion_key!r}")
    return [
        *opening,
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": content, "reasoning_content": thinking},
    ]


def _system(raw: RawRow) -> str:
    """The system message that stands beside the turns."""
    system = raw.get("system") or ""
    if not isinstance(system, str):
        raise DataError(f"field 'system': must be text, not {type(system).__name__}")
    return system


def _only_key(raw: RawRow, names: tuple[str, ...]) -> str:
    """The name under which a row holds something; where all are empty, the first that it has."""
    present = [key for key in names if key in raw]
    filled = [key for key in present if raw[key] not in (None, "", [])]
    if len(filled) > 1:
        raise DataError(
            f"fields {', '.join(map(repr, filled))}: only one of {', '.join(filled)} may hold text, or the "
            "rest would be dropped; remove the others, or write the row as messages"
        )
    return (filled or present or names)[0]


_CONVERTERS: Mapping[SourceFormat, Callable[[RawRow, SourceConfig], list[dict[str, Any]]]] = {
    SourceFormat.MESSAGES: _from_messages,
    SourceFormat.SHAREGPT: _from_sharegpt,
    SourceFormat.PROMPT_COMPLETION: _from_prompt_completion,
}


def _refuse_lost(raw: RawRow, fields: tuple[str, ...]) -> None:
    """Refuse what stands beside the turns and would be dropped."""
    if raw.get("tools"):
        raise DataError("field 'tools': definitions of tools are not rendered here; write them into the system message")
    for field in fields:
        if raw.get(field):
            raise DataError(f"field {field!r}: stands beside the turns and would be dropped; write it into a message")


def _wrap(
    raw: RawRow, messages: list[dict[str, Any]], form: SourceFormat, source: SourceConfig, place: str
) -> dict[str, Any]:
    """A row of the schema around converted messages. Nothing was executed, so there is no verdict."""
    file, _, number = place.rpartition(":")
    number = number.removeprefix("row ")
    given = next((raw[key] for key in ("id", "uuid", "conversation_id") if raw.get(key) not in (None, "")), None)
    identity = str(given) if given is not None else f"{Path(file).stem}-{number}"
    domain = raw.get("domain")
    known = isinstance(domain, str) and domain in set(Domain)
    if domain is not None and not known and source.domain is None:
        raise DataError(
            f"{place}: field 'domain': {domain!r} is none of {', '.join(Domain)}; or set the source's domain"
        )
    return {
        "id": identity,
        "task_id": str(raw.get("task_id") or identity),
        "task_hash": "",
        "domain": domain if known else source.domain or Domain.GENERAL,
        "verdict": None,
        "taxonomy_version": TAXONOMY_VERSION,
        "messages": messages,
        "attempts": [],
        "provenance": {"generator": source.path.name, "instruction": str(form), "seed": 0, "details": {}},
    }


def _decode_open_mappings(raw: RawRow) -> dict[str, Any]:
    """Metrics and provenance details are JSON text in Parquet (`ecot.trajectory_io`), objects in JSONL."""
    row = dict(raw)
    if isinstance(row.get("attempts"), list):
        attempts = []
        for index, attempt in enumerate(row["attempts"]):
            if isinstance(attempt, dict) and isinstance(attempt.get("metrics"), str):
                attempt = {**attempt, "metrics": _decode(attempt["metrics"], f"attempts.{index}.metrics")}
            attempts.append(attempt)
        row["attempts"] = attempts
    provenance = row.get("provenance")
    if isinstance(provenance, dict) and isinstance(provenance.get("details"), str):
        row["provenance"] = {**provenance, "details": _decode(provenance["details"], "provenance.details")}
    return row


def _decode(text: str, field: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"field {field!r}: not JSON ({error})") from error
