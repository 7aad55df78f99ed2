"""Backends by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from ecot.backends.cache import CachedBackend, ExecutionCache
from ecot.backends.conformance import Attack
from ecot.backends.protocol import Backend
from ecot.config import Config
from ecot.errors import ConfigError
from ecot.tasks.registry import load_tasks


class IcarusOptions(Config):
    """What `IcarusBackend` takes; see there."""

    workers: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Executions at once; as many as there are cores without it."""
    secret: Annotated[str, Field(strict=True, min_length=1)] | None = None
    """Key of testbench names, nonces and stimuli; a public one without it."""


def _icarus(**options: Any) -> Backend:
    from ecot.backends.chip_design.backend import IcarusBackend

    return IcarusBackend(**IcarusOptions.model_validate(options).model_dump(exclude_none=True))


def _icarus_attack(canary: Path) -> Attack:
    from ecot.backends.chip_design.adversaries import adversaries

    return adversaries(load_tasks("builtin:chip_design"), canary)


_ATTACKS: dict[str, Callable[[Path], Attack]] = {"icarus": _icarus_attack}
_BACKENDS: dict[str, Callable[..., Backend]] = {"icarus": _icarus}


def backend_names() -> list[str]:
    """Every backend that can be asked for, installed or not."""
    return sorted(_BACKENDS)


def make_backend(name: str, /, *, cache: str | Path | None = None, **options: Any) -> Backend:
    """Build a backend.

    Args:
        name: one of `backend_names()`.
        cache: an SQLite file in which outcomes are kept; None runs everything anew.
        options: what the backend takes, e.g. `workers`.

    Raises:
        ConfigError: no backend has this name, or it does not take these options or their values.
        ToolError: its tool or the sandbox is missing.
    """
    if name not in _BACKENDS:
        raise ConfigError(f"backend {name!r} is unknown; known: {', '.join(backend_names())}")
    if not isinstance(cache, str | Path | None):
        raise ConfigError(f"backend {name!r}: option 'cache': a file's path is wanted (given: {cache!r})")
    try:
        backend = _BACKENDS[name](**options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"backend {name!r}: option {key!r}: {first['msg']} (given: {first['input']!r})") from error
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
