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
    """What `CadQueryBackend` takes; see there."""

    workers: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Executions at once; as many as there are cores without it."""
    artifacts: Path | None = None
    """A folder in which every solid that is judged is kept too, as STEP, STL and PNG."""


def make(options: Options) -> Backend:
    """The backend, its tools found and tried."""
    from ecot.backends.cad_3d.backend import CadQueryBackend

    return CadQueryBackend(**options.model_dump(exclude_none=True))


def attack(canary: Path) -> Attack:
    """The adversarial candidates, of which some try to write `canary` on the host."""
    from ecot.backends.cad_3d.adversaries import adversaries

    return adversaries(load_tasks("builtin:cad_3d"), canary)
