"""Run a candidate on a GPU: Triton through its own launcher, CUDA from a cubin through the driver; and time it.

What times and launches is taken hold of before the candidate is loaded, and the clock stops only when the whole device
is idle, so that work on another stream counts.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import re
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from triton.runtime.jit import JITFunction

from ecot.backends.gpu_optimization.inside import exchange
from ecot.backends.gpu_optimization.inside.torch_guard import OperatorGuard

WARM_UPS, TIMINGS = 5, 30
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_C_SCALARS = {bool: ctypes.c_bool, int: ctypes.c_int32, float: ctypes.c_float}


class DriverError(Exception):
    """A call of the CUDA driver failed."""


def run(arguments: dict[str, Any]) -> None:
    """Take `inputs.bin` and the candidate from the working directory, leave `outputs.bin` and `report.json`."""
    cases = exchange.unpack(Path("inputs.bin").read_bytes())
    report: dict[str, Any] = {"case": -1, "kind": "", "text": "", "launches": 0, "usage": {}}
    outputs: list[exchange.Case] = []
    candidate = _Cubin(arguments) if arguments["language"] == "cuda" else _TritonModule(arguments)
    try:
        candidate.load()
        for index, case in enumerate(cases):
            report["case"] = index
            tensors = _on_device(case)
            found = candidate.call(index, tensors)
            torch.cuda.synchronize()
            named = [tensors[name] for name in arguments["outputs"]] or found
            outputs.append({str(place): value.detach().cpu().numpy() for place, value in enumerate(named)})
        if arguments["timed"]:
            report["usage"] = {"microseconds": _time(candidate, len(cases) - 1, cases[-1])}
    except BaseException as error:  # noqa: BLE001 - a candidate may raise anything, SystemExit included
        report |= {"kind": _kind(error), "text": _ADDRESS.sub("0x", f"{type(error).__name__}: {error}")[:8000]}
    report["launches"] = candidate.launches
    if candidate.refused:
        names = ", ".join(dict.fromkeys(candidate.refused))
        report |= {"kind": "torch_operator", "text": f"work done by PyTorch instead of a kernel: {names}"}
    elif candidate.launches == 0 and not arguments["baseline"]:
        report["kernel_missing"] = 0
    Path("outputs.bin").write_bytes(exchange.pack(outputs))
    Path("report.json").write_text(json.dumps(report), "utf-8")


class _TritonModule:
    """A module with an entry, under the guard that refuses PyTorch's own work."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self._guard = OperatorGuard(set(), arguments["torch_ops"] == "any")
        self.launches = 0
        self._entry: Any = None

    @property
    def refused(self) -> list[str]:
        return self._guard.refused

    def load(self) -> None:
        original = JITFunction.run

        def counted(kernel: Any, *args: Any, **kwargs: Any) -> Any:
            self.launches += 1
            with self._guard.suspend():
                return original(kernel, *args, **kwargs)

        JITFunction.run = counted
        spec = importlib.util.spec_from_file_location("candidate", "candidate.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with self._guard:
            spec.loader.exec_module(module)
        self._entry = vars(module)[self._arguments["entry"]]

    def call(self, index: int, tensors: dict[str, Any]) -> list[Any]:
        positional = [value for name, value in tensors.items() if not name.startswith(("@", "kw."))]
        named = {name[3:]: value for name, value in tensors.items() if name.startswith("kw.")}
        if "@seed" in tensors:
            torch.manual_seed(tensors["@seed"])
        entry = self._entry
        with self._guard, torch.no_grad():
            if self._arguments["module"]:
                entry = entry(*[value for name, value in tensors.items() if name.startswith("@init")]).cuda()
            found = entry(*positional, **named)
        return list(found) if isinstance(found, tuple | list) else [found]


class _Cubin:
    """Kernels of a cubin, launched as the task says."""

    refused: tuple[str, ...] = ()

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._plan = arguments["launches"]
        self._driver: Any = None
        self._module = ctypes.c_void_p()
        self.launches = 0

    def load(self) -> None:
        torch.cuda.init()
        torch.zeros(1, device="cuda")  # makes the context that the module is loaded into
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._check(self._driver.cuModuleLoadData(ctypes.byref(self._module), Path("kernel.cubin").read_bytes()))

    def call(self, index: int, tensors: dict[str, Any]) -> list[Any]:
        for launch in self._plan[index]:
            function = ctypes.c_void_p()
            name = launch["kernel"].encode()
            self._check(self._driver.cuModuleGetFunction(ctypes.byref(function), self._module, name))
            values = [_c_value(tensors[argument]) for argument in launch["arguments"]]
            pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
            sizes = (*launch["grid"], *launch["block"], launch["shared_bytes"])
            stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
            self._check(self._driver.cuLaunchKernel(function, *sizes, stream, pointers, None))
            self.launches += 1
        return []

    def _check(self, code: int) -> None:
        if code:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(code, ctypes.byref(text))
            raise DriverError((text.value or b"unknown").decode())


def _c_value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return _C_SCALARS[type(value)](value)


def _on_device(case: exchange.Case) -> dict[str, Any]:
    return {
        name: torch.from_numpy(value.copy()).cuda() if isinstance(value, np.ndarray) else value
        for name, value in case.items()
    }


def _time(candidate: Any, index: int, case: exchange.Case) -> float:
    """Median microseconds of a call, by events on the current stream, and until all other streams are idle too."""
    tensors = _on_device(case)
    for _ in range(WARM_UPS):
        candidate.call(index, tensors)
    found = []
    for _ in range(TIMINGS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        started = time.perf_counter()
        begin.record()
        candidate.call(index, tensors)
        end.record()
        end.synchronize()
        by_events = begin.elapsed_time(end) * 1e3
        waited = time.perf_counter()
        torch.cuda.synchronize()
        # What the other streams still had to do after this one was idle.
        left = (time.perf_counter() - waited) * 1e6
        found.append(min(by_events + left, (time.perf_counter() - started) * 1e6))
    return statistics.median(found)


def _kind(error: BaseException) -> str:
    text = str(error).lower()
    if "illegal memory access" in text or "illegal address" in text or "misaligned" in text:
        return "out_of_bounds"
    if "out of memory" in text:
        return "out_of_memory"
    if "out of resource: shared memory" in text:
        return "shared_bytes"
    if type(error).__name__ == "CompilationError":
        return "compilation"
    return "early_finish" if isinstance(error, SystemExit) else "exception"
