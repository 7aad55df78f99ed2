"""Backends by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecot.backends.cache import CachedBackend, ExecutionCache
from ecot.backends.conformance import Attack
from ecot.backends.protocol import Backend
from ecot.errors import ConfigError
from ecot.tasks.registry import load_tasks


def _icarus(**options: Any) -> Backend:
    from ecot.backends.chip_design.backend import IcarusBackend

    return IcarusBackend(**options)


def _icarus_attack(canary: Path) -> Attack:
    from ecot.backends.chip_design.adversaries import adversaries

    return adversaries(load_tasks("builtin:chip_design"), canary)


_ATTACKS: dict[str, Callable[[Path], Attack]] = {"icarus": _icarus_attack}
_BACKENDS: dict[str, Callable[..., Backend]] = {"icarus": _icarus}


def backend_names() -> list[str]:
    """Every backend that can be asked for, installed or not."""
    return sorted(_BACKENDS)


def make_backend(name: str, *, cache: str | Path | None = None, **options: Any) -> Backend:
    """Build a backend.

    Args:
        name: one of `backend_names()`.
        cache: an SQLite file in which outcomes are kept; None runs everything anew.
        options: what the backend takes, e.g. `workers`.

    Raises:
        ConfigError: no backend has this name, or it does not take these options.
        ToolError: its tool or the sandbox is missing.
    """
    if name not in _BACKENDS:
        raise ConfigError(f"backend {name!r} is unknown; known: {', '.join(backend_names())}")
    try:
        backend = _BACKENDS[name](**options)
    except TypeError as error:
        raise ConfigError(f"backend {name!r}: {error}") from error
    return backend if cache is None else CachedBackend(backend, ExecutionCache(Path(cache)))


def make_attack(name: str, canary: Path) -> Attack:
    """The adversarial candidates written against a backend, for `ecot.backends.conformance.check_backend`.

    Args:
        name: one of `backend_names()`.
        canary: a path of the host that does not exist and that some of them try to write.

    Raises:
        ConfigError: no backend has this name.
    """
    if name not in _ATTACKS:
        raise ConfigError(f"backend {name!r} is unknown; known: {', '.join(backend_names())}")
    return _ATTACKS[name](canary)
