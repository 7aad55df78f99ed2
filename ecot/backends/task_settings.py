"""The part of a task that a domain's backend reads: validated, with errors that name the place."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from ecot.config import Config
from ecot.errors import DataError
from ecot.tasks.bundle import Task

SettingsT = TypeVar("SettingsT", bound=Config)


def task_settings(kind: type[SettingsT], task: Task) -> SettingsT:
    """A task's `settings` as its domain has them.

    Raises:
        DataError: names the task, the key and the keys that are allowed.
    """
    return validated(kind, dict(task.settings), f"task {task.id}: settings")


def validated(kind: type[SettingsT], values: object, place: str) -> SettingsT:
    """Values of a bundle as their type has them.

    Args:
        kind: the type.
        values: as YAML gives them.
        place: begins the error's message.

    Raises:
        DataError: names the place, the key and the keys that are allowed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        allowed = ", ".join(kind.model_fields)
        raise DataError(f"{place} key {key!r}: {first['msg']}; allowed keys: {allowed}") from error
