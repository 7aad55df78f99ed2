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
    """What `AssemblyBackend` takes; see there."""

    workers: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Executions at once; without it twice as many as there are cores, or as many where runs are timed."""
    secret: Annotated[str, Field(strict=True, min_length=1)] | None = None
    """Key of test inputs and nonces; a public one without it."""
    timing_pairs: Annotated[int, Field(strict=True, ge=2, le=1000)] | None = None
    """How often baseline and candidate are timed in turn; never without it."""


def make(options: Options) -> Backend:
    """The backend, its tools found and tried."""
    from ecot.backends.code_optimization.backend import AssemblyBackend

    return AssemblyBackend(**options.model_dump(exclude_none=True))


def attack(canary: Path) -> Attack:
    """The adversarial candidates, of which some try to write `canary` on the host."""
    from ecot.backends.code_optimization.adversaries import adversaries

    return adversaries(load_tasks("builtin:code_optimization"), canary)
