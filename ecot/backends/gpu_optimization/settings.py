"""What a GPU task says about its tests and its limits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ecot.backends.task_settings import task_settings
from ecot.config import Config
from ecot.errors import DataError
from ecot.tasks.bundle import Task

MEBIBYTE = 1 << 20


class LaunchSettings(Config):
    """One launch of a CUDA kernel; sizes are integer expressions of the scalar arguments."""

    kernel: str
    """The kernel's name."""
    grid: str
    """Blocks: one expression, or up to three separated by commas, such as `(n + 255) // 256`."""
    block: str
    """Threads per block, in the same form."""
    arguments: tuple[str, ...] = ()
    """Names of the arguments that it takes, in order; all without it."""
    shared_bytes: str = "0"
    """Dynamic shared memory."""


class GpuSettings(Config):
    """The `settings` of a task."""

    outputs: tuple[str, ...] = ()
    """Arguments that the entry changes, which are then the outputs; without it, what it returns is."""
    rtol: float = Field(1e-5, ge=0)
    """Relative tolerance of floating-point outputs."""
    atol: float = Field(1e-6, ge=0)
    """Absolute tolerance of floating-point outputs."""
    compile_seconds: int = Field(20, gt=0)
    """Processor time for each compilation, seconds."""
    run_seconds: int = Field(10, gt=0)
    """Processor time for all cases together, seconds."""
    memory_mib: int = Field(1024, gt=0)
    """Address space beside that of the libraries, MiB."""
    max_registers: int | None = Field(None, gt=0)
    """Registers per thread that a kernel may take on the target."""
    max_shared_bytes: int | None = Field(None, gt=0)
    """Shared memory that a block may take on the target, if less than the target's own limit."""
    max_local_bytes: int | None = Field(None, ge=0)
    """Bytes of local memory per thread, as from spilled registers."""
    torch_ops: Literal["allocate", "any"] = "allocate"
    """What PyTorch may do beside the kernels: give memory, or anything."""
    module: bool = False
    """Whether the entry is a class of the KernelBench form, built from the arguments called `@init...`."""
    reference_is_baseline: bool = False
    """Whether the reference is plain PyTorch, to be judged by its values alone."""
    inputs_may_change: bool = False
    """Whether the entry may write to arguments that are no outputs."""
    launches: tuple[LaunchSettings, ...] = ()
    """For CUDA tasks: what is launched, in order."""
    min_speedup: float | None = Field(None, gt=0)
    """On a GPU, how many times faster than the reference it must be; below is NOT_IMPROVED."""


def read_settings(task: Task) -> GpuSettings:
    """Validate a task's settings.

    Raises:
        DataError: names the task and the key.
    """
    settings = task_settings(GpuSettings, task)
    if (task.language == "cuda") != bool(settings.launches):
        raise DataError(f"task {task.id}: settings key 'launches': a cuda task needs it, a python task has none")
    if task.language == "cuda" and not settings.outputs:
        raise DataError(f"task {task.id}: settings key 'outputs': a cuda kernel returns nothing, so name its outputs")
    if "oracle.py" not in task.hidden:
        raise DataError(f"task {task.id}: no hidden file 'oracle.py'")
    return settings
