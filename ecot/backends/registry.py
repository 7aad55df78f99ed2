"""Backends by name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from ecot.backends.cache import CachedBackend, ExecutionCache
from ecot.backends.conformance import Attack
from ecot.backends.protocol import Backend
from ecot.config import Config
from ecot.errors import ConfigError
from ecot.outcomes import Domain


class Registration(Protocol):
    """What a domain's module `registration` offers; importing it loads nothing heavy."""

    Options: type[Config]
    """What the backend takes, beside the cache."""

    def make(self, options: Any) -> Backend:
        """Build it; raises ToolError if its tools are missing."""
        ...

    def attack(self, canary: Path) -> Attack:
        """The adversarial candidates written against it."""
        ...


_BACKENDS: dict[str, Domain] = {
    "icarus": Domain.CHIP_DESIGN,
}
"""Name to the domain, whose folder holds the module `registration`."""


def backend_names() -> list[str]:
    """Every backend that can be asked for, installed or not."""
    return sorted(_BACKENDS)


def backend_of(domain: Domain) -> str:
    """The name of the backend that runs a domain's tasks.

    Raises:
        ConfigError: none does.
    """
    for name, served in _BACKENDS.items():
        if served is domain:
            return name
    served_domains = ", ".join(sorted(_BACKENDS.values()))
    raise ConfigError(f"no backend runs domain {domain!r}; domains with one: {served_domains}")


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
    registration = _registration(name)
    if not isinstance(cache, str | Path | None):
        raise ConfigError(f"backend {name!r}: option 'cache': a file's path is wanted (given: {cache!r})")
    try:
        checked = registration.Options.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"backend {name!r}: option {key!r}: {first['msg']} (given: {first['input']!r})") from error
    backend = registration.make(checked)
    return backend if cache is None else CachedBackend(backend, ExecutionCache(Path(cache)))


def make_attack(name: str, canary: Path) -> Attack:
    """The adversarial candidates written against a backend, for `ecot.backends.conformance.check_backend`.

    Args:
        name: one of `backend_names()`.
        canary: a path of the host that does not exist and that some of them try to write.

    Raises:
        ConfigError: no backend has this name.
    """
    return _registration(name).attack(canary)


def _registration(name: str) -> Registration:
    if name not in _BACKENDS:
        raise ConfigError(f"backend {name!r} is unknown; known: {', '.join(backend_names())}")
    module: Any = importlib.import_module(f"ecot.backends.{_BACKENDS[name]}.registration")
    return module
