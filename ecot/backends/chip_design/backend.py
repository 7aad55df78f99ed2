"""The chip design backend: screen, compile and simulate, then lint with Verilator and build with Yosys."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ecot.backends.chip_design.harness import harness_source
from ecot.backends.chip_design.icarus import IcarusSimulator
from ecot.backends.chip_design.judging import screen_source
from ecot.backends.chip_design.lint import find_verilator, lint
from ecot.backends.chip_design.settings import ChipDesignSettings, read_settings
from ecot.backends.chip_design.simulator import Simulator, SimulatorName
from ecot.backends.chip_design.synthesis import SynthesisTool, find_yosys, synthesise
from ecot.backends.chip_design.verilator import VerilatorSimulator
from ecot.backends.concurrency import Slots, run_all
from ecot.backends.sandbox import Sandbox, find_sandbox
from ecot.errors import DataError, ToolError
from ecot.outcomes import Domain, Execution, Label, Stage
from ecot.tasks.bundle import Task

DEFAULT_SECRET = "ecot"
"""Public, so that labels and diagnostics are the same everywhere. See `IcarusBackend.__init__`."""

_SIMULATORS: Mapping[SimulatorName, Callable[[Sandbox, bytes], Simulator]] = {
    "icarus": IcarusSimulator,
    "verilator": VerilatorSimulator,
}


class IcarusBackend:
    """Runs chip design tasks: a simulator gives the verdict, Yosys can take a PASS back, a linter adds its view.

    The simulator is Icarus Verilog, hence the name, or by option Verilator.
    """

    name = "icarus"
    domains = frozenset({Domain.CHIP_DESIGN})

    def __init__(
        self,
        *,
        workers: int | None = None,
        simulator: SimulatorName = "icarus",
        lint: bool = True,
        synthesis: bool = True,
        secret: str = DEFAULT_SECRET,
    ) -> None:
        """Find tools and sandbox.

        Args:
            workers: executions at once; by default the number of cores that this process may use.
            simulator: `icarus` or `verilator`; the latter knows two states only and costs seconds of compilation.
            lint: whether Verilator's findings are added to the diagnostics of whatever compiles.
            synthesis: whether Yosys synthesises whatever passes.
            secret: key of testbench names, nonces and stimuli. The default gives the same outcomes everywhere. Set
                one of your own where candidates may have been written, with knowledge of this package, to deceive it:
                a program that computes HMACs of its own text could work out the default's names.

        Raises:
            MissingToolError: the simulator is not installed, or Verilator or Yosys where it is to be used.
            SandboxError: no sandbox can be had.
        """
        self._sandbox: Sandbox = find_sandbox()
        self._simulator: Simulator = _SIMULATORS[simulator](self._sandbox, secret.encode())
        self._slots = Slots(len(os.sched_getaffinity(0)) if workers is None else workers)
        self._reference_samples: dict[str, int] = {}
        self._linter = find_verilator() if lint else None
        self._synthesiser = find_yosys() if synthesis else None
        self._reference_is_clean: dict[str, bool] = {}
        parts = [self._simulator.identity]
        parts += [tool.identity for tool in (self._linter, self._synthesiser) if tool is not None]
        self._fingerprint = hashlib.sha256("\0".join(parts).encode() + harness_source()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Hash of tool, flags, secret and harness."""
        return self._fingerprint

    async def execute(self, task: Task, code: str) -> Execution:
        """Run one candidate; see `ecot.backends.protocol.Backend`.

        Raises:
            DataError: the task is not of this domain or its bundle is incomplete.
            ToolError: the reference does not pass, or tool or sandbox are broken.
        """
        if task.domain not in self.domains:
            raise DataError(f"task {task.id}: domain {task.domain} cannot run on {self.name}")
        async with self._slots.take():
            samples = await self._samples(task)
            started = time.monotonic()
            execution = screen_source(code) or await self._look_further(
                task, code, await self._simulator.judge(task, code, samples)
            )
            seconds = time.monotonic() - started
        return replace(execution, seconds=seconds, fingerprint=self._fingerprint)

    async def execute_many(self, jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
        """Run several candidates at once, results in the order of `jobs`; see `Backend`."""
        return await run_all([self.execute(task, code) for task, code in jobs])

    async def _samples(self, task: Task) -> int:
        """How many samples the reference's simulation counts; a candidate must reach as many."""
        key = task.hash
        if key not in self._reference_samples:
            execution = await self._simulator.judge(task, task.reference, None)
            if not execution.passed:
                raise ToolError(
                    f"task {task.id}: the reference does not pass on {self._simulator.title}: "
                    f"{execution.label} {execution.subcode}\n{execution.diagnostics}"
                )
            self._reference_samples[key] = int(execution.metrics["samples"])
        return self._reference_samples[key]

    async def _look_further(self, task: Task, code: str, execution: Execution) -> Execution:
        """What the other tools say about a candidate that compiles, and whether one that passes can be built."""
        settings = read_settings(task)
        # A text that was refused may hold anything; the linter would only be one more parser to attack.
        if execution.stage is Stage.COMPILE or execution.label is Label.PROTOCOL_VIOLATION:
            return execution
        if execution.passed and self._synthesiser is not None and settings.synthesis:
            execution = await self._judge_synthesis(task, code, execution, self._synthesiser, settings)
        if self._linter is not None:
            found = await lint(self._sandbox, self._linter, task, code, settings)
            text = execution.diagnostics + "".join(f"{line}\n" for line in found)
            execution = replace(
                execution, diagnostics=text, metrics={**execution.metrics, "lint_findings": float(len(found))}
            )
        return execution

    async def _judge_synthesis(
        self, task: Task, code: str, execution: Execution, tool: SynthesisTool, settings: ChipDesignSettings
    ) -> Execution:
        key = task.hash
        if key not in self._reference_is_clean:
            reference = await synthesise(self._sandbox, tool, task, task.reference, settings)
            self._reference_is_clean[key] = reference.clean
        report = await synthesise(self._sandbox, tool, task, code, settings)
        metrics = {**execution.metrics, **(report.metrics or {})}
        verdict = report.verdict() if self._reference_is_clean[key] else None
        if verdict is not None:
            label, subcode, text = verdict
            return Execution(label, subcode, Stage.SYNTHESIS, text, metrics)
        note = f"not synthesised: {report.problem}\n" if report.problem else ""
        return replace(execution, diagnostics=execution.diagnostics + note, metrics=metrics)
