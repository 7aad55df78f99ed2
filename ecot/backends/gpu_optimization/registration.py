"""How the registry builds this domain's backend, and the attack on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ecot.backends.conformance import Attack
from ecot.backends.protocol import Backend
from ecot.config import Config
from ecot.tasks.registry import load_tasks


class Options(Config):
    """What `GpuBackend` takes; see there."""

    workers: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Executions at once; as many as there are cores without it."""
    secret: Annotated[str, Field(strict=True, min_length=1)] | None = None
    """Key of the random inputs; a public one without it."""
    target: Literal["sm_80", "sm_86", "sm_89", "sm_90"] = "sm_90"
    """The architecture that kernels are compiled for."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where they run: on a GPU, or on the CPU under an interpreter (Triton) and an emulation (CUDA)."""
    timed: bool = False
    """On a GPU, time right candidates against the reference."""


def make(options: Options) -> Backend:
    """The backend, its tools found."""
    from ecot.backends.gpu_optimization.backend import GpuBackend

    return GpuBackend(**options.model_dump(exclude_none=True))


def attack(canary: Path) -> Attack:
    """The adversarial candidates, in Triton and in CUDA C++, of which some try to write `canary` on the host."""
    from ecot.backends.gpu_optimization.adversaries import adversaries, cuda_adversaries

    tasks = load_tasks("builtin:gpu_optimization")
    triton, cuda = adversaries(tasks, canary), cuda_adversaries(tasks, canary)
    posing = [replace(adversary, name=f"cuda_{adversary.name}", task=cuda.task) for adversary in cuda.adversaries]
    return Attack(triton.task, (*triton.adversaries, *posing))
