"""Backends by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ecot.backends.protocol import Backend
from ecot.errors import ConfigError


def _icarus(**options: Any) -> Backend:
    from ecot.backends.chip_design.backend import IcarusBackend

    return IcarusBackend(**options)


_BACKENDS: dict[str, Callable[..., Backend]] = {"icarus": _icarus}


def backend_names() -> list[str]:
    """Every backend that can be asked for, installed or not."""
    return sorted(_BACKENDS)


def make_backend(name: str, **options: Any) -> Backend:
    """Build a backend.

    Args:
        name: one of `backend_names()`.
        options: what the backend takes, e.g. `workers`.

    Raises:
        ConfigError: no backend has this name, or it does not take these options.
        ToolError: its tool or the sandbox is missing.
    """
    if name not in _BACKENDS:
        raise ConfigError(f"backend {name!r} is unknown; known: {', '.join(backend_names())}")
    try:
        return _BACKENDS[name](**options)
    except TypeError as error:
        raise ConfigError(f"backend {name!r}: {error}") from error
