"""A CUDA candidate: compiled by nvcc for the target, then compiled for the CPU and run there under an emulation.

The first step gives what only NVIDIA's compiler can say: errors, registers, shared memory, spills. The second gives
what only running can say. No GPU is needed for either, and none is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ecot.backends.gpu_optimization.comparison import compare, describe_case
from ecot.backends.gpu_optimization.cuda_plan import (
    SIGNATURE_MARK,
    glue,
    kernel_names,
    pack_plan,
    split_outputs,
)
from ecot.backends.gpu_optimization.cuda_source import CANDIDATE, for_the_cpu
from ecot.backends.gpu_optimization.cuda_tool import CudaTools
from ecot.backends.gpu_optimization.judging import Trial, judge_end, verdict
from ecot.backends.gpu_optimization.settings import MEBIBYTE, GpuSettings
from ecot.backends.gpu_optimization.targets import Target
from ecot.backends.sandbox import Limits, Sandbox, SandboxCommand, SandboxResult
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage
from ecot.tasks.bundle import Task

CPU_FLAGS = ("-std=c++20", "-O1", "-w", "-fsanitize=bounds-strict", "-fno-sanitize-recover=bounds")
_MAX_LINES = 40
_HEADERS = Path("/usr/include")
_SOURCES = resources.files("ecot.backends.gpu_optimization") / "emulator"

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_SPILLS = re.compile(r"(\d+) bytes spill stores")
_STACK = re.compile(r"(\d+) bytes stack frame")
_SYNTAX = re.compile(
    r"expected an? |expected a|unrecognized token|missing closing|unterminated|#endif|end-of-file|#if\b"
)
_FAULTS = {
    "out_of_bounds": (Label.MEMORY_FAULT, "out_of_bounds"),
    "stack": (Label.MEMORY_FAULT, "stack"),
    "input_changed": (Label.FUNCTIONAL_MISMATCH, ""),
    "assertion": (Label.RUNTIME_ERROR, "assertion"),
    "exception": (Label.RUNTIME_ERROR, "exception"),
}


@dataclass(frozen=True)
class Compiled:
    """What nvcc made."""

    cubin: bytes
    metrics: Mapping[str, float]
    """Registers per thread; shared, local and spilled bytes: the largest of all kernels."""


class CudaRunner:
    """Compiles and runs CUDA candidates of all tasks."""

    def __init__(self, tools: CudaTools, sandbox: Sandbox, target: Target) -> None:
        self._tools = tools
        self._sandbox = sandbox
        self._target = target
        self._runtime = b""

    async def run(self, task: Task, code: str, settings: GpuSettings, trial: Trial) -> Execution:
        """Both steps.

        Raises:
            ToolError: a tool failed for a reason that is not the candidate's.
        """
        compiled = await self.compile(task, code, settings)
        if isinstance(compiled, Execution):
            return compiled
        emulated = for_the_cpu(code)
        if emulated is None:
            text = f"{CANDIDATE}: error: dynamic shared memory must be declared inside of the kernel\n"
            return Execution(Label.COMPILATION_ERROR, "unsupported", Stage.COMPILE, text)
        program = await self._compile_for_cpu(task, glue(settings, trial.inputs[0], emulated), settings)
        if isinstance(program, Execution):
            return program
        ran = await self._sandbox.run(
            SandboxCommand(
                argv=("/tmp/program",),
                inputs={"program": program, "plan.bin": pack_plan(trial.inputs, settings)},
                outputs=("outputs.raw", "fault.txt", "progress.txt"),
                # Guards around every array take address space, not memory.
                limits=_limits(settings.run_seconds, settings.memory_mib + 1024),
            )
        )
        return _judge_run(ran, trial, settings, dict(compiled.metrics))

    async def compile(self, task: Task, code: str, settings: GpuSettings) -> Compiled | Execution:
        """The first step alone: a cubin and what its kernels take, or the outcome of a candidate without one."""
        result = await self._compile_for_target(task, code, settings)
        refused, metrics = _judge_compilation(result, settings, self._target)
        return refused or Compiled(result.outputs["out.cubin"], metrics)

    async def _compile_for_target(self, task: Task, code: str, settings: GpuSettings) -> SandboxResult:
        files = {name: text.encode() for name, text in task.environment.items()}
        argv = (str(self._tools.nvcc), "-cubin", f"-arch=sm_{self._target.arch}", "-std=c++17", "-Xptxas", "-v")
        return await self._sandbox.run(
            SandboxCommand(
                argv=(*argv, "-o", "out.cubin", CANDIDATE),
                inputs={**files, CANDIDATE: code.encode("utf-8", "replace")},
                outputs=("out.cubin",),
                limits=_limits(settings.compile_seconds, 4096),
                read_only=(self._tools.toolkit, _HEADERS),
            )
        )

    async def _compile_for_cpu(self, task: Task, text: str, settings: GpuSettings) -> bytes | Execution:
        files = {name: content.encode() for name, content in task.environment.items()}
        files |= {"ecot_cuda.h": (_SOURCES / "ecot_cuda.h").read_bytes(), "unit.cpp": text.encode("utf-8", "replace")}
        files["runtime.o"] = await self._runtime_object()
        result = await self._sandbox.run(
            SandboxCommand(
                argv=(str(self._tools.gxx), *CPU_FLAGS, "-I.", "unit.cpp", "runtime.o", "-o", "program"),
                inputs=files,
                outputs=("program",),
                limits=_limits(settings.compile_seconds, 4096),
                read_only=(_HEADERS,),
            )
        )
        if (ended := judge_end(result, "compile")) is not None:
            return ended
        if result.exit_code == 0 and "program" in result.outputs:
            return result.outputs["program"]
        lines = [line for line in result.stderr.decode("utf-8", "replace").splitlines() if "error:" in line]
        for line in lines:
            if SIGNATURE_MARK in line:
                message = line.partition(SIGNATURE_MARK)[2].strip().strip('"')
                text = f"{CANDIDATE}: error: {SIGNATURE_MARK} {message}\n"
                return Execution(Label.COMPILATION_ERROR, "elaboration", Stage.COMPILE, text)
        shown = "\n".join(lines[:8])
        text = f"compiles for the GPU, but uses what cannot be run on this machine's CPU:\n{shown}\n"
        return Execution(Label.COMPILATION_ERROR, "unsupported", Stage.COMPILE, text)

    async def _runtime_object(self) -> bytes:
        """The emulation's own half, compiled once."""
        if not self._runtime:
            result = await self._sandbox.run(
                SandboxCommand(
                    argv=(str(self._tools.gxx), "-std=c++20", "-O1", "-c", "runtime.cpp", "-o", "runtime.o"),
                    inputs={"runtime.cpp": (_SOURCES / "runtime.cpp").read_bytes()},
                    outputs=("runtime.o",),
                    limits=_limits(60, 4096),
                    read_only=(_HEADERS,),
                )
            )
            if result.exit_code != 0:
                raise ToolError(f"g++ cannot compile the emulation: {result.stderr.decode('utf-8', 'replace')[:2000]}")
            self._runtime = result.outputs["runtime.o"]
        return self._runtime


def _limits(cpu_seconds: int, memory_mib: int) -> Limits:
    return Limits(
        cpu_seconds=cpu_seconds,
        wall_seconds=max(60.0, cpu_seconds * 8.0),
        memory_bytes=memory_mib * MEBIBYTE,
        output_bytes=256 << 10,
        processes=32,
    )


def _judge_compilation(
    result: SandboxResult, settings: GpuSettings, target: Target
) -> tuple[Execution | None, dict[str, float]]:
    """The outcome if there is no usable cubin, and what the kernels take."""
    said = _normalise(result.stdout + result.stderr)
    if "error" not in said and (ended := judge_end(result, "compile")) is not None:
        return ended, {}
    if result.exit_code != 0 or "out.cubin" not in result.outputs:
        return _failed_compilation(said), {}
    metrics = {
        "registers": max(map(float, _USED.findall(said)), default=0.0),
        "shared_bytes": max(map(float, _SHARED.findall(said)), default=0.0),
        "local_bytes": max(map(float, _STACK.findall(said)), default=0.0),
        "spill_bytes": max(map(float, _SPILLS.findall(said)), default=0.0),
    }
    if missing := [name for name in kernel_names(settings) if name not in _ENTRY.findall(said)]:
        text = f'{CANDIDATE}: error: no kernel extern "C" __global__ void {missing[0]}(...)\n'
        return Execution(Label.COMPILATION_ERROR, "link", Stage.COMPILE, text), metrics
    bounds = (
        ("registers", settings.max_registers or target.registers, "registers", "registers per thread"),
        ("shared_bytes", settings.max_shared_bytes, "shared_memory", "bytes of shared memory"),
        ("local_bytes", settings.max_local_bytes, "registers", "bytes of local memory per thread"),
    )
    for key, bound, subcode, words in bounds:
        if bound is not None and metrics[key] > bound:
            text = f"the kernels take {metrics[key]:.0f} {words}; the limit is {bound}\n"
            return Execution(Label.RESOURCE_EXCEEDED, subcode, Stage.COMPILE, text, metrics), metrics
    return None, metrics


def _failed_compilation(said: str) -> Execution:
    if "too much shared data" in said:
        return Execution(Label.RESOURCE_EXCEEDED, "shared_memory", Stage.COMPILE, said)
    errors = [line for line in said.splitlines() if "error" in line]
    if not errors:
        raise ToolError(f"nvcc failed without an error message: {said[:2000] or 'it said nothing'}")
    subcode = "syntax" if _SYNTAX.search(errors[0]) else "elaboration"
    return Execution(Label.COMPILATION_ERROR, subcode, Stage.COMPILE, said)


def _normalise(raw: bytes) -> str:
    """nvcc's messages without temporary names and without what ptxas tells of good kernels in failed runs."""
    text = re.sub(r"/tmp/tmpxft\S*", "temporary", raw.decode("utf-8", "replace"))
    text = re.sub(r"(?:/tmp/)?" + re.escape(CANDIDATE), CANDIDATE, text)
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if any("error" in line for line in lines):
        lines = [line for line in lines if not line.startswith("ptxas info") and "bytes stack frame" not in line]
    if len(lines) > _MAX_LINES:
        lines = [*lines[:_MAX_LINES], f"... {len(lines) - _MAX_LINES} more lines"]
    return "\n".join(lines) + "\n"


def _judge_run(result: SandboxResult, trial: Trial, settings: GpuSettings, metrics: dict[str, float]) -> Execution:
    if "fault.txt" in result.outputs:
        kind, _, text = result.outputs["fault.txt"].decode("utf-8", "replace").partition("\n")
        if kind == "harness":
            raise ToolError(f"the emulation failed: {text.strip()}")
        label, subcode = _FAULTS.get(kind, _FAULTS["exception"])
        done = result.outputs.get("progress.txt", b"0").decode("utf-8", "replace").strip()
        index = int(done) if done.isdecimal() else 0
        place = describe_case(index, trial.inputs[index]) if index < len(trial.inputs) else "after the last case"
        return Execution(label, subcode, Stage.RUN, f"{place}: {text.strip()}\n", metrics)
    if (ended := judge_end(result, "run")) is not None:
        return ended
    outputs = split_outputs(result.outputs.get("outputs.raw", b""), trial.inputs, settings)
    if result.exit_code != 0 or outputs is None:
        text = "the candidate ended the program before all cases were run\n"
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text, metrics)
    places = []
    for index, case in enumerate(trial.inputs):
        text = describe_case(index, case)
        places += [f"{text}, threads in ascending order", f"{text}, threads in descending order"]
    expected = [case for case in trial.expected for _ in range(2)]
    compared = compare(places, expected, outputs, settings.rtol, settings.atol)
    return verdict(compared, len(trial.inputs), {"cases": float(len(trial.inputs)), **metrics})
