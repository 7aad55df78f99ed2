"""Simulation by Icarus Verilog: compile, screen the compiled program, run it."""

from __future__ import annotations

import hashlib

from ecot.backends.chip_design.harness import CANDIDATE_FILE, Bench, make_bench
from ecot.backends.chip_design.judging import judge_compilation, judge_run
from ecot.backends.chip_design.screening import refused_calls, system_calls, unknown_calls
from ecot.backends.chip_design.settings import MEBIBYTE, ChipDesignSettings, read_settings
from ecot.backends.chip_design.simulator import environment_files
from ecot.backends.chip_design.tool import IcarusTool, find_icarus
from ecot.backends.sandbox import WORK_DIR, CommandRunner, SandboxCommand, SandboxResult, tool_limits
from ecot.outcomes import Execution, Label, Stage
from ecot.tasks.bundle import Task

COMPILE_FLAGS = ("-g2012",)
RUN_FLAGS = ("-n",)  # `$stop` ends the simulation instead of waiting for a terminal


class IcarusSimulator:
    """Four states, fast to start: the default."""

    def __init__(self, runner: CommandRunner, secret: bytes) -> None:
        """Find the tool.

        Raises:
            MissingToolError: Icarus Verilog is not installed.
        """
        self._tool: IcarusTool = find_icarus()
        self._runner = runner
        self._secret = secret
        self.title = f"Icarus Verilog {self._tool.version}"
        parts = [self._tool.identity, *COMPILE_FLAGS, *RUN_FLAGS, hashlib.sha256(secret).hexdigest()]
        self.identity = "\0".join(parts)

    async def judge(self, task: Task, code: str, samples: int | None) -> Execution:
        """Compile and simulate; see `Simulator`."""
        settings = read_settings(task)
        bench = make_bench(task, code, self._secret)
        compiled = await self._compile(task, code, bench, settings)
        program = compiled.outputs.get(bench.program)
        if compiled.exit_code != 0 or program is None:
            return judge_compilation(compiled, bench, task.entry)
        calls = system_calls(program.decode("utf-8", "replace"))
        if refused := refused_calls(calls):
            text = f"{CANDIDATE_FILE}: error: {', '.join(refused)} may not be used in this environment\n"
            return Execution(Label.PROTOCOL_VIOLATION, "sandbox_denial", Stage.COMPILE, text)
        ran = await self._run(bench, program, settings)
        return judge_run(ran, bench, task.entry, samples, unknown_calls(calls))

    async def _compile(self, task: Task, code: str, bench: Bench, settings: ChipDesignSettings) -> SandboxResult:
        files = environment_files(task)
        files[bench.file_name] = bench.text.encode()
        files[CANDIDATE_FILE] = code.encode("utf-8", "replace")
        base = []
        if "`" in code:
            # Only then has the preprocessor anything to say.
            files[f"{bench.folder}/ivlpp"] = self._tool.preprocessor_wrapper
            base = [f"-BP{WORK_DIR}/{bench.folder}"]
        # The testbench first, so that nothing the candidate defines or leaves open reaches it.
        sources = (bench.file_name, CANDIDATE_FILE)
        return await self._runner.run(
            SandboxCommand(
                argv=(self._tool.iverilog, *base, *COMPILE_FLAGS, "-s", bench.top, "-o", bench.program, *sources),
                inputs=files,
                outputs=(bench.program,),
                limits=tool_limits(settings.compile_seconds, settings.memory_mib, MEBIBYTE),
                read_only=self._tool.read_only,
                # Its temporary files name the testbench's file.
                environment={"TMPDIR": f"{WORK_DIR}/{bench.folder}"},
            )
        )

    async def _run(self, bench: Bench, program: bytes, settings: ChipDesignSettings) -> SandboxResult:
        return await self._runner.run(
            SandboxCommand(
                argv=(self._tool.vvp, *RUN_FLAGS, bench.program),
                inputs={bench.program: program},
                limits=tool_limits(settings.run_seconds, settings.memory_mib, settings.output_kib * 1024),
                read_only=self._tool.read_only,
            )
        )
