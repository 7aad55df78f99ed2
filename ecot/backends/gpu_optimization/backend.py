"""The GPU backend: screen the source, draw inputs, compile for the target, run, compare on the trusted side."""

from __future__ import annotations

import hashlib
import re
from importlib import metadata
from pathlib import Path

from ecot.backends.candidate_text import screen_source
from ecot.backends.fingerprint import fingerprint_of
from ecot.backends.gpu_optimization.cuda_runs import CPU_FLAGS, CudaRunner
from ecot.backends.gpu_optimization.cuda_source import screen_cuda
from ecot.backends.gpu_optimization.cuda_tool import find_cuda_tools
from ecot.backends.gpu_optimization.device import (
    DEVICE_ENTRY,
    MEMORY_MIB,
    Device,
    choose_device,
    device_files,
    launch_plan,
    server,
    with_speed,
)
from ecot.backends.gpu_optimization.inside import exchange
from ecot.backends.gpu_optimization.judging import Trial, judge_triton, screen_python
from ecot.backends.gpu_optimization.settings import GpuSettings, read_settings
from ecot.backends.gpu_optimization.targets import TARGETS
from ecot.backends.gpu_optimization.trials import (
    SERVER,
    TRITON_ENTRY,
    derive_seed,
    draw_trial,
    limits,
)
from ecot.backends.sandbox import find_sandbox
from ecot.backends.sandbox.fork_command import ForkCommand, ForkResult
from ecot.backends.sandbox.fork_server import ForkPool
from ecot.backends.tool_backend import DEFAULT_SECRET, ToolBackend, default_workers
from ecot.errors import DataError, MissingToolError
from ecot.outcomes import Domain, Execution
from ecot.tasks.bundle import Task

CANDIDATE_FILES = {"python": "candidate.py", "cuda": "candidate.cu"}
"""Languages of this domain's tasks, to the name under which diagnostics speak of the candidate."""

_FOLDERS = ("gpu_optimization", "gpu_optimization/emulator", "gpu_optimization/inside")
_OUTPUT_BYTES = 256 << 10
_START_SECONDS = 10


class GpuBackend(ToolBackend):
    """Runs tasks of Triton and CUDA kernels, each candidate in a sandbox."""

    name = "gpu"
    domains = frozenset({Domain.GPU_OPTIMIZATION})

    def __init__(
        self,
        *,
        workers: int | None = None,
        secret: str = DEFAULT_SECRET,
        target: str = "sm_90",
        device: Device = "auto",
        timed: bool = False,
    ) -> None:
        """Find tools and sandbox.

        Args:
            workers: executions at once; by default the number of cores that this process may use.
            secret: key of the random inputs. The default gives the same outcomes everywhere. Set one of your own where
                candidates may have been written, with knowledge of this package, to deceive it.
            target: the architecture that kernels are compiled for, one of `TARGETS`.
            device: where they run; `auto` takes a GPU if there is one.
            timed: time right candidates on a GPU against the reference. Their metrics then differ from run to run, and
                a task's `min_speedup` decides a label; on a CPU nothing is timed.

        Raises:
            ToolError: device `cuda` is asked for and cannot be had.
            MissingToolError: torch, triton, nvcc or g++ is not installed.
            SandboxError: no sandbox can be had.
        """
        versions = [f"{name} {_version(name)}" for name in ("torch", "triton", "numpy")]
        workers = default_workers() if workers is None else workers
        files = device_files()
        self._device = choose_device(device, files, _has_cuda_build())
        on_gpu = self._device == "cuda"
        self._pool = ForkPool(server(files, SERVER.scratch_bytes) if on_gpu else SERVER, workers=workers)
        self._timed = timed and on_gpu
        self._references: dict[str, Execution] = {}
        self._secret = secret.encode()
        self._target = TARGETS[target]
        tools = find_cuda_tools()
        self._cuda = CudaRunner(tools, find_sandbox(), self._target)
        parts = [
            *versions,
            tools.identity,
            *CPU_FLAGS,
            target,
            self._device,
            str(self._timed),
            hashlib.sha256(self._secret).hexdigest(),
        ]
        super().__init__(workers, fingerprint_of(parts, _FOLDERS, (".py", ".h", ".cpp")))

    async def _outcome(self, task: Task, code: str) -> Execution:
        if task.language not in CANDIDATE_FILES:
            allowed = ", ".join(CANDIDATE_FILES)
            raise DataError(f"task {task.id}: key 'language': {task.language!r} is unknown here; allowed: {allowed}")
        settings = read_settings(task)
        refused = screen_source(code, CANDIDATE_FILES[task.language])
        return refused or await self._run(task, code, settings)

    async def _run(self, task: Task, code: str, settings: GpuSettings) -> Execution:
        # Of such tasks the reference is trusted text of the task itself, as the oracle is.
        baseline = settings.reference_is_baseline and code == task.reference
        screen = screen_cuda if task.language == "cuda" else screen_python
        if not baseline and (refused := screen(code)) is not None:
            return refused
        trial = await draw_trial(self._pool, task, settings, derive_seed(self._secret, task, code))
        if self._device == "cuda":
            execution = await self._run_on_device(task, code, settings, trial, baseline)
            if not self._timed:
                return execution
            return with_speed(execution, await self._timed_reference(task, settings), settings)
        if task.language == "cuda":
            return await self._cuda.run(task, code, settings, trial)
        result = await self._request(TRITON_ENTRY, task, code, settings, trial, baseline, {})
        return judge_triton(result, trial, settings)

    async def _run_on_device(
        self, task: Task, code: str, settings: GpuSettings, trial: Trial, baseline: bool
    ) -> Execution:
        files: dict[str, bytes] = {}
        if task.language == "cuda":
            compiled = await self._cuda.compile(task, code, settings)
            if isinstance(compiled, Execution):
                return compiled
            files = {"kernel.cubin": compiled.cubin}
        result = await self._request(DEVICE_ENTRY, task, code, settings, trial, baseline, files)
        return judge_triton(result, trial, settings)

    async def _timed_reference(self, task: Task, settings: GpuSettings) -> Execution:
        """The reference on the GPU, for its time; once per task."""
        if task.hash not in self._references:
            trial = await draw_trial(self._pool, task, settings, derive_seed(self._secret, task, task.reference))
            baseline = settings.reference_is_baseline
            self._references[task.hash] = await self._run_on_device(task, task.reference, settings, trial, baseline)
        return self._references[task.hash]

    async def _request(
        self,
        entry: str,
        task: Task,
        code: str,
        settings: GpuSettings,
        trial: Trial,
        baseline: bool,
        files: dict[str, bytes],
    ) -> ForkResult:
        target = self._target
        bounds = {
            "registers": settings.max_registers or target.registers,
            "shared_bytes": settings.max_shared_bytes or target.shared_bytes,
            "local_bytes": settings.max_local_bytes,
        }
        job = {
            "entry": task.entry,
            "language": task.language,
            "outputs": settings.outputs,
            "arch": target.arch,
            "compile": True,
            "module": settings.module,
            "inputs_may_change": settings.inputs_may_change,
            "baseline": baseline,
            "torch_ops": settings.torch_ops,
            "compile_seconds": settings.compile_seconds,
            "run_seconds": settings.run_seconds,
            "limits": {name: bound for name, bound in bounds.items() if bound is not None},
            "timed": self._timed,
            "launches": launch_plan(trial.inputs, settings),
        }
        files |= {name: text.encode() for name, text in task.environment.items()}
        files |= {CANDIDATE_FILES[task.language]: code.encode("utf-8", "replace")}
        files |= {"inputs.bin": exchange.pack(trial.inputs)}
        cpu_seconds = _START_SECONDS + settings.compile_seconds + settings.run_seconds
        memory_mib = MEMORY_MIB if self._device == "cuda" else settings.memory_mib
        return await self._pool.run(
            ForkCommand(
                entry,
                job,
                inputs=files,
                outputs=("outputs.bin", "report.json"),
                limits=limits(cpu_seconds, memory_mib, _OUTPUT_BYTES),
            )
        )


def _has_cuda_build() -> bool:
    """Whether the installed torch can use a GPU, without importing it."""
    text = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text("utf-8")
    return re.search(r"^cuda\b[^=\n]*=\s*['\"]", text, re.MULTILINE) is not None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise MissingToolError(f"{package} is not installed; get it with `pip install {package}`") from error
