"""Configuration: YAML, validated by pydantic before anything heavy is imported, with dotted overrides.

A field's docstring is its help. Unknown keys fail. An error names the file, the key, what is wrong and the remedy.
A file may begin from others: `include: [data/paper_scale.yaml]`, paths relative to the file itself. Sections are merged
key by key, later files and then the file's own keys winning; lists are replaced.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ecot.errors import ConfigError


class Config(BaseModel):
    """Base of every section: immutable, closed, documented by the docstrings under its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


ConfigT = TypeVar("ConfigT", bound=Config)


def load_config(kind: type[ConfigT], path: Path, overrides: Sequence[str] = ()) -> ConfigT:
    """Read a YAML file, apply `a.b.c=value` overrides (values are YAML) and validate.

    Raises:
        ConfigError: the file is missing or not YAML, an override is malformed, or a key is unknown or wrong.
    """
    values = _read(path, ())
    for override in overrides:
        _apply_override(values, override)
    return validate_config(kind, values, str(path))


def _read(path: Path, including: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a file over those of the files that it includes."""
    by = f" (included by {including[-1]})" if including else ""
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file{by}; shipped ones are under configs/")
    if path.resolve() in (earlier.resolve() for earlier in including):
        raise ConfigError(f"{path}: includes itself, by way of {including[-1]}; leave one of the two out")
    try:
        values = yaml.safe_load(path.read_text("utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold a mapping of sections, not {type(values).__name__}")
    included = values.pop("include", [])
    if not (isinstance(included, list) and all(isinstance(name, str) for name in included)):
        raise ConfigError(f"{path}: key 'include' must be a list of paths relative to this file")
    merged: dict[str, Any] = {}
    for name in included:
        merged = _merge(merged, _read(path.parent / name, (*including, path)))
    return _merge(merged, values)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def validate_config(kind: type[ConfigT], values: dict[str, Any], place: str) -> ConfigT:
    """Validate `values` as `kind`; `place` is named in errors.

    Raises:
        ConfigError: lists every wrong key with the reason and, for an unknown key, the nearest known one.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [_explain(kind, item) for item in error.errors()]
        raise ConfigError(f"{place}: " + "; ".join(lines)) from error


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError(f"override {override!r} must look like section.key=value")
    *parents, leaf = key.split(".")
    node = values
    for depth, part in enumerate(parents):
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            at = ".".join(parents[: depth + 1])
            raise ConfigError(f"override {override!r}: {at} is a value, not a section")
        node = child
    try:
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value is not valid YAML") from error


def _explain(kind: type[Config], item: Any) -> str:
    names, section = _walk(kind, item["loc"])
    key = ".".join(names)
    if item["type"] == "extra_forbidden":
        known = list(section.model_fields) if section is not None else []
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(sorted(known)) or 'none'}"
        return f"unknown key {key!r}; {hint}"
    message = item["msg"].removeprefix("Value error, ")
    if not key:
        return message
    given = "" if item["type"] in ("missing", "value_error") else f" (given: {item['input']!r})"
    return f"key {key!r}: {message}{given}"


def _walk(kind: type[BaseModel], location: Sequence[Any]) -> tuple[list[str], type[BaseModel] | None]:
    """The key that `location` stands for, and the section that holds its last part (None where it cannot be told).

    Where sections are told apart by their `type`, pydantic puts the type into the location; no user wrote it there.
    """
    names: list[str] = []
    sections: list[type[BaseModel]] = [kind]
    holder: type[BaseModel] | None = kind
    for part in location:
        if len(sections) > 1 and all("type" in section.model_fields for section in sections):
            tagged = [section for section in sections if part in get_args(section.model_fields["type"].annotation)]
            if tagged:
                sections = tagged
                continue
        names.append(str(part))
        if isinstance(part, int):  # a place in a list of such sections
            continue
        holder = sections[0] if sections else None
        field = holder.model_fields.get(part) if holder is not None else None
        annotation = field.annotation if field is not None else None
        options = [annotation, *get_args(annotation)]
        sections = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    return names, holder
