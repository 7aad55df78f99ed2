"""A real GPU, where there is one. Written to be run there; see docs/backends/gpu_optimization.md for what has been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ecot.backends.gpu_optimization.cuda_plan import argument_names, dimensions, evaluate
from ecot.backends.gpu_optimization.inside.exchange import Case
from ecot.backends.gpu_optimization.settings import GpuSettings
from ecot.backends.sandbox.fork_command import ForkServerSpec
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage

Device = Literal["auto", "cpu", "cuda"]

_INSIDE = "ecot.backends.gpu_optimization.inside"
DEVICE_ENTRY = f"{_INSIDE}.device_job:run"

MEMORY_MIB = 1 << 24
"""Address space: the CUDA driver reserves far more than it uses."""


def device_files(folder: Path = Path("/dev")) -> list[Path]:
    """The files through which a process reaches NVIDIA's driver; empty without a GPU."""
    cards = sorted(path for path in folder.glob("nvidia*") if path.name.removeprefix("nvidia").isdecimal())
    if not cards:
        return []
    return [*cards, *(path for name in ("nvidiactl", "nvidia-uvm") if (path := folder / name).exists())]


def choose_device(wanted: Device, files: Sequence[Path], cuda_build: bool) -> Literal["cpu", "cuda"]:
    """Where candidates run: `auto` takes a GPU if there is one and PyTorch can use it.

    Raises:
        ToolError: a GPU is wanted and cannot be had.
    """
    if wanted == "cpu" or (wanted == "auto" and not (files and cuda_build)):
        return "cpu"
    if not files:
        raise ToolError("device 'cuda': this machine shows no /dev/nvidia0; use device 'cpu' or a machine with a GPU")
    if not cuda_build:
        raise ToolError("device 'cuda': the installed torch is a CPU build; install one with CUDA, or use device 'cpu'")
    return "cuda"


def server(files: Sequence[Path], scratch_bytes: int) -> ForkServerSpec:
    """Servers whose children may use the GPU. Nothing in them touches it before a child does: CUDA does not fork."""
    names = ("exchange", "oracle_job", "torch_guard", "device_job")
    return ForkServerSpec(
        modules=tuple(f"{_INSIDE}.{name}" for name in names),
        scratch_bytes=scratch_bytes,
        environment={"PYTHONWARNINGS": "ignore"},
        devices=tuple(files),
        process_files=True,
    )


def launch_plan(cases: Sequence[Case], settings: GpuSettings) -> list[list[dict[str, object]]]:
    """For every case what is launched: kernel, grid, block, shared bytes and arguments by name."""
    return [
        [
            {
                "kernel": launch.kernel,
                "grid": dimensions(launch.grid, case),
                "block": dimensions(launch.block, case),
                "shared_bytes": evaluate(launch.shared_bytes, case),
                "arguments": list(argument_names(launch, case)),
            }
            for launch in settings.launches
        ]
        for case in cases
    ]


def with_speed(execution: Execution, reference: Execution, settings: GpuSettings) -> Execution:
    """Add how many times faster than the reference a right candidate is; too slow is NOT_IMPROVED."""
    mine, other = execution.metrics.get("microseconds"), reference.metrics.get("microseconds")
    if not execution.passed or mine is None or other is None:
        return execution
    speedup = other / mine
    execution = replace(execution, metrics={**execution.metrics, "reference_microseconds": other, "speedup": speedup})
    if settings.min_speedup is not None and speedup < settings.min_speedup:
        text = f"all outputs are right, but not {settings.min_speedup:g} times as fast as the reference\n"
        return replace(execution, label=Label.NOT_IMPROVED, subcode="", stage=Stage.CHECK, diagnostics=text)
    return execution
