"""What a preflight says: one line per thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It will run, though not as one would wish, or something could not be looked at."""
    FAILURE = "failure"
    """It will fail."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    name: str
    message: str
    """What was found, and for anything but `ok` what to do."""


def ok(name: str, message: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, name, message)


def warning(name: str, message: str) -> Finding:
    """Worth a look."""
    return Finding(Level.WARNING, name, message)


def failure(name: str, message: str) -> Finding:
    """The run would fail."""
    return Finding(Level.FAILURE, name, message)
