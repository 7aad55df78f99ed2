"""Every launch of a Triton kernel: compiled for the target, held to its limits, then interpreted under the guards."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.interpreter import InterpretedFunction

from ecot.backends.gpu_optimization.inside.address_check import AddressCheck
from ecot.backends.gpu_optimization.inside.target_compiler import OPTIONS, TargetCompiler
from ecot.backends.gpu_optimization.inside.torch_guard import OperatorGuard


class ResourceExceededError(Exception):
    """A kernel takes more than the GPU has, or than the task grants."""

    def __init__(self, resource: str, message: str) -> None:
        super().__init__(message)
        self.resource = resource


class Launcher:
    """Stands in for the launch of the interpreter."""

    def __init__(self, check: AddressCheck, guard: OperatorGuard, limits: dict[str, int]) -> None:
        self._check = check
        self._guard = guard
        self._limits = limits
        self.compiler: TargetCompiler | None = None
        """None leaves compilation out."""
        self.enter_stage: Callable[[str], None] = lambda stage: None
        """Told when compilation (`compile`) and execution (`run`) begin."""
        self.launches = 0
        self.usage: dict[str, int] = {}
        """The largest of each resource over all kernels."""

    def install(self, arch: int) -> None:
        """Let all launches come here."""
        driver.set_active(_TargetDriver(arch))
        original = InterpretedFunction.run
        launcher = self

        def run(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
            if warmup:
                return None
            return launcher.launch(original, self, args, grid, kwargs)

        InterpretedFunction.run = run

    def launch(self, original: Any, kernel: Any, args: Any, grid: Any, kwargs: dict[str, Any]) -> Any:
        """Compile, compare with the limits, run.

        Raises:
            ResourceExceededError, OutOfBoundsError, and what compiler and interpreter raise.
        """
        arguments = _bind(kernel, args, kwargs)
        options = {name: kwargs[name] for name in OPTIONS if kwargs.get(name) is not None}
        with self._guard.suspend():
            self._compile(kernel, arguments, options)
            tensors = {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)}
            self._check.enter(tensors)
            self.launches += 1
            return original(kernel, *args, grid=grid, warmup=False, **kwargs)

    def _compile(self, kernel: Any, arguments: dict[str, Any], options: dict[str, Any]) -> None:
        if self.compiler is None:
            return
        if any(isinstance(value, tuple) for value in arguments.values()):
            raise NotImplementedError("tuples as arguments of a kernel are not supported in interpreter mode here")
        self.enter_stage("compile")
        try:
            usage = self.compiler.compile(kernel, arguments, options)
        finally:
            self.enter_stage("run")
        for name, value in (usage or {}).items():
            self.usage[name] = max(value, self.usage.get(name, 0))
            limit = self._limits.get(name)
            if limit is not None and value > limit:
                raise ResourceExceededError(
                    name, f"kernel '{kernel.fn.__name__}' takes {_WORDS[name].format(value)}; the limit is {limit}"
                )


_WORDS = {
    "registers": "{} registers per thread",
    "local_bytes": "{} bytes of local memory per thread (spilled registers)",
    "shared_bytes": "{} bytes of shared memory",
}


def _bind(kernel: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(kernel.fn)
    bound = signature.bind(*args, **{name: value for name, value in kwargs.items() if name in signature.parameters})
    bound.apply_defaults()
    return dict(bound.arguments)


class _TargetDriver:
    """What Triton asks of a GPU's driver before a launch; enough for `autotune`, which tries every configuration once.

    All configurations take the same time, so that the first is chosen whatever the machine's load.
    """

    def __init__(self, arch: int) -> None:
        self._arch = arch

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self._arch, 32)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_benchmarker(self) -> Callable[..., list[float]]:
        def once(call: Callable[[], Any], quantiles: Any = (0.5,), **_: Any) -> list[float]:
            call()
            return [1.0] * len(quantiles)

        return once


def candidate_frames(error: BaseException, file: str) -> list[str]:
    """Where in the candidate's file an exception came from, outermost first, as a compiler would say it."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.rpartition("/")[2] == file:
            lines.append(f"{file}:{trace.tb_lineno}: in {code.co_name}")
        trace = trace.tb_next
    return lines
