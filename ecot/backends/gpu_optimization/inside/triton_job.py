"""Run a Triton candidate on all cases and leave what it gave. Nothing here knows what is expected.

`inputs.bin` holds the arguments, `candidate.py` the code. `outputs.bin` takes the outputs of the cases that were run,
`report.json` how it went.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import triton  # noqa: E402
from triton.runtime.errors import InterpreterError  # noqa: E402

from ecot.backends.gpu_optimization.inside import address_check, exchange  # noqa: E402
from ecot.backends.gpu_optimization.inside.launches import Launcher, ResourceExceededError, candidate_frames  # noqa: E402
from ecot.backends.gpu_optimization.inside.target_compiler import TargetCompiler  # noqa: E402
from ecot.backends.gpu_optimization.inside.torch_guard import OperatorGuard, PretendCuda, pretend_a_gpu  # noqa: E402

CANDIDATE = "candidate.py"
MAX_OUTPUT_BYTES = 64 << 20
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


class FaultError(Exception):
    """What the candidate gave back is of no use; the message says why."""


class TritonJob:
    """One candidate and its cases."""

    def __init__(self, job: dict[str, Any], inputs: list[exchange.Case]) -> None:
        self._job = job
        self._inputs = inputs
        self._check = address_check.AddressCheck()
        self._guard = OperatorGuard(self._check.written, job["torch_ops"] == "any")
        self._launcher = Launcher(self._check, self._guard, job["limits"])
        self._launcher.enter_stage = self._enter_stage
        self.outputs: list[exchange.Case] = []
        self.report: dict[str, Any] = {"case": -1, "kind": "", "text": ""}

    def run(self) -> None:
        """All cases, or up to the first that fails; fills `outputs` and `report`."""
        address_check.install(self._check)
        self._launcher.install(self._job["arch"])
        pretend_a_gpu(self._job["arch"])
        # Memory from `torch.empty` holds NaN or the largest integer: what a kernel forgets to write is seen.
        # The public function of this name imports the whole of Inductor first.
        torch._C._set_deterministic_algorithms(True, warn_only=True)
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self._enter_stage("run")
        try:
            with self._guard, PretendCuda(self._guard):
                entry = self._load()
                for index, case in enumerate(self._inputs):
                    self.report["case"] = index
                    self.outputs.append(self._call(entry, case))
        except BaseException as error:  # noqa: BLE001 - a candidate may raise anything, SystemExit included
            self.report |= self._explain(error)
        if self._guard.refused:
            # Also where the candidate caught the exception and went on.
            names = ", ".join(dict.fromkeys(self._guard.refused))
            self.report |= {"kind": "torch_operator", "text": f"work done by PyTorch instead of a kernel: {names}"}
        elif self._check.failure:
            self.report["kind"] = "out_of_bounds"
            self.report["text"] = self.report["text"] or self._check.failure
        self.report |= {"launches": self._launcher.launches, "usage": self._launcher.usage}

    def _load(self) -> Any:
        spec = importlib.util.spec_from_file_location("candidate", CANDIDATE)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        if self._job["compile"]:
            # The compiler must see the very globals that the kernels see.
            self._launcher.compiler = TargetCompiler(self._job["arch"], vars(module))
        spec.loader.exec_module(module)
        entry = vars(module).get(self._job["entry"])
        if not callable(entry):
            raise FaultError(f"there is no function '{self._job['entry']}'")
        return entry

    def _call(self, entry: Any, case: exchange.Case) -> exchange.Case:
        with self._guard.suspend():
            arguments = {name: _as_torch(value) for name, value in case.items()}
        result = self._apply(entry, arguments)
        names = self._job["outputs"]
        if names:
            found = [arguments[name] for name in names]
        else:
            found = list(result) if isinstance(result, tuple | list) else [result]
        with self._guard.suspend():
            for name in () if self._job["inputs_may_change"] else arguments:
                value = arguments[name]
                if isinstance(value, torch.Tensor) and name not in names and not _unchanged(value, case[name]):
                    raise FaultError(f"the input '{name}' was changed")
            return {f"{index}": self._as_numpy(index, value) for index, value in enumerate(found)}

    def _apply(self, entry: Any, arguments: dict[str, Any]) -> Any:
        """Call a function; or a class of the KernelBench form, built from what begins with `@init`.

        `@seed` is no argument but seeds PyTorch; what begins with `kw.` is passed by keyword.
        """
        if "@seed" in arguments:
            torch.manual_seed(arguments["@seed"])
        positional = [value for name, value in arguments.items() if not name.startswith(("@", "kw."))]
        named = {name[3:]: value for name, value in arguments.items() if name.startswith("kw.")}
        if not self._job["module"]:
            return entry(*positional, **named)
        settings = [value for name, value in arguments.items() if name.startswith("@init")]
        with torch.no_grad():
            return entry(*settings)(*positional, **named)

    def _as_numpy(self, index: int, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            raise FaultError(f"output {index} is of type {type(value).__name__}, not a tensor")
        if not self._job["baseline"] and value.numel() > 0:
            touched = self._launcher.launches > 0 if self._job["torch_ops"] == "any" else self._guard.was_written(value)
            if not touched:
                self.report["kernel_missing"] = index
        if value.numel() * value.element_size() > MAX_OUTPUT_BYTES:
            raise FaultError(f"output {index} has {value.numel()} elements, more than any task asks for")
        plain = value.detach().contiguous()
        if plain.dtype is torch.bfloat16:
            raise FaultError(f"output {index} has dtype bfloat16, which no task asks for")
        return plain.numpy().copy()

    def _explain(self, error: BaseException) -> dict[str, str]:
        cause = error.__cause__ if isinstance(error, InterpreterError) and error.__cause__ else error
        frames = candidate_frames(error, CANDIDATE)
        if cause is not error:
            frames += candidate_frames(cause, CANDIDATE)[-1:]
        where = "\n".join(frames)
        text = f"{type(cause).__name__}: {cause}"
        kind = "exception"
        if isinstance(cause, address_check.OutOfBoundsError):
            kind, text = "out_of_bounds", str(cause)
        elif isinstance(cause, ResourceExceededError):
            kind, text = cause.resource, str(cause)
        elif isinstance(error, triton.CompilationError):
            kind, text = "compilation", str(error)
        elif type(error).__module__.startswith("triton.") and "ptxas" in str(error).lower():
            kind = "assembler"
        elif isinstance(cause, NotImplementedError) and "interpreter mode" in str(cause):
            kind = "unsupported"
        elif isinstance(cause, FaultError):
            kind, text = "fault", str(cause)
        elif isinstance(cause, MemoryError) or "can't allocate memory" in str(cause):
            kind = "out_of_memory"
        elif isinstance(cause, SystemExit):
            kind, text = "early_finish", "the candidate ended the program"
        elif isinstance(cause, AssertionError):
            kind = "assertion"
        return {"kind": kind, "text": _ADDRESS.sub("0x", f"{where}\n{text}".strip())[:8000]}

    def _enter_stage(self, stage: str) -> None:
        """Say what comes next, in case this process does not live to say anything else; and allot processor time."""
        self.report["stage"] = stage
        sys.stdout.write(f"\necot-stage {stage}\n")
        sys.stdout.flush()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = int(usage.ru_utime + usage.ru_stime) + 1 + self._job[f"{stage}_seconds"]
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _as_torch(value: Any) -> Any:
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def _unchanged(tensor: torch.Tensor, before: Any) -> bool:
    return tensor.numpy().tobytes() == before.tobytes()


def run(arguments: dict[str, Any]) -> None:
    """Take the inputs from the working directory, leave outputs and report there."""
    job = TritonJob(arguments, exchange.unpack(Path("inputs.bin").read_bytes()))
    job.run()
    Path("outputs.bin").write_bytes(exchange.pack(job.outputs))
    Path("report.json").write_text(json.dumps(job.report), "utf-8")
