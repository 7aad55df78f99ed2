"""The chip design backend: screen, compile and simulate, then lint with Verilator and build with Yosys."""

from __future__ import annotations

from dataclasses import replace

from ecot.backends.candidate_text import screen_source
from ecot.backends.chip_design.harness import CANDIDATE_FILE
from ecot.backends.chip_design.icarus import IcarusSimulator
from ecot.backends.chip_design.lint import find_verilator, lint
from ecot.backends.chip_design.settings import ChipDesignSettings, read_settings
from ecot.backends.chip_design.simulator import Simulator, SimulatorName
from ecot.backends.chip_design.synthesis import SynthesisTool, find_yosys, synthesise, yosys_folders
from ecot.backends.chip_design.tool import find_icarus
from ecot.backends.chip_design.verilator import VerilatorSimulator
from ecot.backends.fingerprint import fingerprint_of
from ecot.backends.sandbox import ToolPool, find_sandbox
from ecot.backends.tool_backend import DEFAULT_SECRET, SHORT, ToolBackend, default_workers
from ecot.errors import ToolError
from ecot.outcomes import Domain, Execution, Label, Stage
from ecot.tasks.bundle import Task

_NUL_MESSAGE = "error: syntax error: NUL character in the source"


class IcarusBackend(ToolBackend):
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
            workers: executions at once; by default twice the number of cores that this process may use.
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
        workers = default_workers(SHORT) if workers is None else workers
        # Its simulation is a program made from the candidate, and gets a sandbox of its own.
        verilator = VerilatorSimulator(find_sandbox(), secret.encode()) if simulator == "verilator" else None
        shown = [] if verilator else list(find_icarus().read_only)
        self._linter = find_verilator() if lint else None
        if self._linter is not None:
            shown.append(self._linter.root)
        self._synthesiser = find_yosys() if synthesis else None
        self._tools = ToolPool(workers=workers, read_only=shown)
        # Yosys alone needs a /proc.
        self._synthesis_tools = ToolPool(workers=workers, read_only=yosys_folders(), process_files=True)
        self._simulator: Simulator = verilator or IcarusSimulator(self._tools, secret.encode())
        self._reference_samples: dict[str, int] = {}
        self._reference_is_clean: dict[str, bool] = {}
        parts = [self._simulator.identity]
        parts += [tool.identity for tool in (self._linter, self._synthesiser) if tool is not None]
        fingerprint = fingerprint_of(parts, ("chip_design",), (".py", ".sv", ".cpp"))
        super().__init__(workers, fingerprint)

    def close(self) -> None:
        """End the sandboxes that stay; the next execution starts new ones."""
        self._tools.close()
        self._synthesis_tools.close()

    async def _prepare(self, task: Task, code: str) -> None:
        await self._samples(task)

    async def _outcome(self, task: Task, code: str) -> Execution:
        if refused := screen_source(code, CANDIDATE_FILE, _NUL_MESSAGE):
            return refused
        execution = await self._simulator.judge(task, code, await self._samples(task))
        return await self._look_further(task, code, execution)

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
            found = await lint(self._tools, self._linter, task, code, settings)
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
            reference = await synthesise(self._synthesis_tools, tool, task, task.reference, settings)
            self._reference_is_clean[key] = reference.clean
        report = await synthesise(self._synthesis_tools, tool, task, code, settings)
        metrics = {**execution.metrics, **(report.metrics or {})}
        verdict = report.verdict() if self._reference_is_clean[key] else None
        if verdict is not None:
            label, subcode, text = verdict
            return Execution(label, subcode, Stage.SYNTHESIS, text, metrics)
        note = f"not synthesised: {report.problem}\n" if report.problem else ""
        return replace(execution, diagnostics=execution.diagnostics + note, metrics=metrics)
