"""Draw a task's cases for one candidate: inputs, and what is expected of them, both on the trusted side."""

from __future__ import annotations

import hashlib
import hmac

from ecot.backends.gpu_optimization.inside import exchange
from ecot.backends.gpu_optimization.judging import Trial
from ecot.backends.gpu_optimization.settings import MEBIBYTE, GpuSettings
from ecot.backends.sandbox import Limits
from ecot.backends.sandbox.fork_command import ForkCommand, ForkServerSpec
from ecot.backends.sandbox.fork_server import ForkPool
from ecot.errors import DataError, ToolError
from ecot.tasks.bundle import Task

_INSIDE = "ecot.backends.gpu_optimization.inside"

_SCRATCH_BYTES = 512 * MEBIBYTE
"""Inputs and outputs of the largest imported tasks."""

SERVER = ForkServerSpec(
    modules=tuple(
        f"{_INSIDE}.{name}"
        for name in (
            "exchange",
            "oracle_job",
            "address_check",
            "target_compiler",
            "torch_guard",
            "launches",
            "triton_job",
            "warm_up",
        )
    ),
    scratch_bytes=_SCRATCH_BYTES,
    environment={"TRITON_INTERPRET": "1", "PYTHONWARNINGS": "ignore"},
)
"""Torch and Triton are imported once; oracle and candidate then run in children of the same servers, one at a time."""

ORACLE_ENTRY = f"{_INSIDE}.oracle_job:run"
TRITON_ENTRY = f"{_INSIDE}.triton_job:run"

_WALL_FACTOR = 8.0
_ORACLE_SECONDS = 60


def derive_seed(secret: bytes, task: Task, code: str) -> int:
    """The seed of the random inputs, from an HMAC of the secret with task and code."""
    message = "\0".join(("inputs", task.hash, code)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hmac.new(secret, message, hashlib.sha256).digest()[:8], "big")


async def draw_trial(pool: ForkPool, task: Task, settings: GpuSettings, seed: int) -> Trial:
    """Run the hidden oracle.

    Raises:
        ToolError: it fails.
        DataError: what it gives does not fit the task.
    """
    result = await pool.run(
        ForkCommand(
            ORACLE_ENTRY,
            {"seed": seed},
            inputs={name: text.encode() for name, text in task.hidden.items()},
            outputs=("inputs.bin", "expected.bin"),
            limits=limits(_ORACLE_SECONDS, settings.memory_mib, 1 << 16),
        )
    )
    if result.exit_code != 0:
        said = result.stderr.decode("utf-8", "replace").strip()[-2000:]
        raise ToolError(f"task {task.id}: the hidden oracle.py failed (exit code {result.exit_code}): {said}")
    trial = Trial(exchange.unpack(result.outputs["inputs.bin"]), exchange.unpack(result.outputs["expected.bin"]))
    if settings.outputs:
        for name in settings.outputs:
            if name not in trial.inputs[0] or name not in trial.expected[0]:
                raise DataError(f"task {task.id}: settings key 'outputs': the oracle knows no {name!r}")
        trial = Trial(trial.inputs, [{name: case[name] for name in settings.outputs} for case in trial.expected])
    return trial


def limits(cpu_seconds: int, memory_mib: int, output_bytes: int) -> Limits:
    """Caps of one run; wall time is generous, since a busy machine must not turn a slow candidate into a timeout."""
    return Limits(
        cpu_seconds=cpu_seconds,
        wall_seconds=max(60.0, cpu_seconds * _WALL_FACTOR),
        memory_bytes=memory_mib * MEBIBYTE,
        scratch_bytes=_SCRATCH_BYTES,
        output_bytes=output_bytes,
        processes=32,
    )
