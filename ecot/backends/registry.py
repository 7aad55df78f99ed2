"""Backends by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field, ValidationError

from ecot.backends.cache import CachedBackend, ExecutionCache
from ecot.backends.conformance import Attack
from ecot.backends.protocol import Backend
from ecot.backends.routed import RoutedBackend
from ecot.config import Config
from ecot.errors import ConfigError
from ecot.outcomes import Domain
from ecot.tasks.bundle import Task


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


class RoutedOptions(Config):
    """What `make_backend("real")` takes."""

    domains: tuple[Domain, ...] = ()
    """The domains to serve, whose tools must all be there; every domain without it."""
    workers: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Executions at once over all domains; as many as there are cores without it."""
    backend_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of single backends, by the backend's name."""


ROUTED = "real"
"""Name of the backend that serves several domains."""

C = TypeVar("C", bound=Config)

_BACKENDS: dict[str, Domain] = {
    "assembly": Domain.CODE_OPTIMIZATION,
    "python": Domain.GENERAL,
    "gpu": Domain.GPU_OPTIMIZATION,
    "icarus": Domain.CHIP_DESIGN,
    "cadquery": Domain.CAD_3D,
    "stm32": Domain.EMBEDDED,
}
"""Name to the domain, whose folder holds the module `registration`."""


def backend_names() -> list[str]:
    """Every backend that can be asked for, installed or not."""
    return sorted(_BACKENDS)


def backends_named(text: str = "") -> list[tuple[str, Domain]]:
    """Backends with their domains: the one called `text`, the one of the domain `text`, or all if it is empty.

    Raises:
        ConfigError: it names neither.
    """
    found = [(name, domain) for name, domain in sorted(_BACKENDS.items()) if text in ("", name, domain)]
    if not found:
        known = ", ".join(sorted([*_BACKENDS, *_BACKENDS.values()]))
        raise ConfigError(f"{text!r} is neither a backend nor a domain that has one; known: {known}")
    return found


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


def make_backend(name: str, /, *, cache: str | Path | None = None, ray: str | None = None, **options: Any) -> Backend:
    """Build a backend.

    Args:
        name: one of `backend_names()`, or `real`: each task on the backend of its domain.
        cache: an SQLite file in which outcomes are kept; None runs everything anew.
        ray: address of a Ray cluster (`local` for one on this machine) whose nodes run the candidates.
        options: what the backend takes, e.g. `workers`; for `real` see `RoutedOptions`.

    Raises:
        ConfigError: no backend has this name, or it does not take these options or their values.
        ToolError: its tool, the sandbox or the cluster is missing.
    """
    for key, value in (("cache", cache), ("ray", ray)):
        if not isinstance(value, str | Path | None):
            raise ConfigError(f"backend {name!r}: option {key!r}: text is wanted (given: {value!r})")
    if name == ROUTED:
        return _routed(check_options(name, RoutedOptions, options), cache, ray)
    checked = check_options(name, _registration(name).Options, options)
    if ray is None:
        backend = _registration(name).make(checked)
    else:
        from ecot.backends.ray_executor import RayBackend

        backend = RayBackend(name, ray, **options)
    return backend if cache is None else CachedBackend(backend, ExecutionCache(Path(cache)))


def make_backend_for(tasks: Mapping[str, Task], name: str = ROUTED) -> Backend:
    """The backend called `name`; if that is `real`, with the tools of just those domains that the tasks have."""
    if name != ROUTED:
        return make_backend(name)
    return make_backend(ROUTED, domains=sorted({task.domain for task in tasks.values()}))


def _routed(options: RoutedOptions, cache: str | Path | None, ray: str | None) -> Backend:
    backends = {}
    for domain in options.domains or sorted(_BACKENDS.values()):
        name = backend_of(domain)
        backends[domain] = make_backend(name, cache=cache, ray=ray, **options.backend_options.get(name, {}))
    return RoutedBackend(backends, options.workers)


def check_options(name: str, kind: type[C], options: Mapping[str, Any]) -> C:
    """Validate what a backend takes.

    Raises:
        ConfigError: names the backend, the option and its value.
    """
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"backend {name!r}: option {key!r}: {first['msg']} (given: {first['input']!r})") from error


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
        known = ", ".join([*backend_names(), ROUTED])
        raise ConfigError(f"backend {name!r} is unknown; known: {known}")
    module: Any = importlib.import_module(f"ecot.backends.{_BACKENDS[name]}.registration")
    return module
