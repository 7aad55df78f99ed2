"""How the registry builds this domain's backend, and the attack on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ecot.backends.conformance import Attack
from ecot.backends.protocol import Backend
from ecot.config import Config
from ecot.tasks.registry import load_tasks


class Options(Config):
    """What `PythonBackend` takes; see there."""

    workers: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Executions at once; twice as many as there are cores without it."""
    secret: Annotated[str, Field(strict=True, min_length=1)] | None = None
    """Key of random arguments and nonces; a public one without it."""


def make(options: Options) -> Backend:
    """The backend, its tools found and tried."""
    from ecot.backends.general.backend import PythonBackend

    return PythonBackend(**options.model_dump(exclude_none=True))


def attack(canary: Path) -> Attack:
    """The adversarial candidates, of which some try to write `canary` on the host."""
    from ecot.backends.general.adversaries import adversaries

    return adversaries(load_tasks("builtin:general"), canary)
