"""How the registry builds this domain's backend, and the attack on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ecot.backends.chip_design.simulator import SimulatorName
from ecot.backends.conformance import Attack
from ecot.backends.protocol import Backend
from ecot.config import Config
from ecot.tasks.registry import load_tasks


class Options(Config):
    """What `IcarusBackend` takes; see there."""

    workers: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Executions at once; twice as many as there are cores without it."""
    simulator: SimulatorName = "icarus"
    """What gives the verdict: `icarus`, or `verilator`, which knows no `x` and compiles for seconds."""
    lint: Annotated[bool, Field(strict=True)] = True
    """Whether Verilator's findings stand beside the outcome of what compiles."""
    synthesis: Annotated[bool, Field(strict=True)] = True
    """Whether Yosys synthesises what passes: latches and loops are errors, sizes are metrics."""
    secret: Annotated[str, Field(strict=True, min_length=1)] | None = None
    """Key of testbench names, nonces and stimuli; a public one without it."""


def make(options: Options) -> Backend:
    """The backend, its tools found and tried."""
    from ecot.backends.chip_design.backend import IcarusBackend

    return IcarusBackend(**options.model_dump(exclude_none=True))


def attack(canary: Path) -> Attack:
    """The adversarial candidates, of which some try to write `canary` on the host."""
    from ecot.backends.chip_design.adversaries import adversaries

    return adversaries(load_tasks("builtin:chip_design"), canary)
