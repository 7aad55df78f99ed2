"""Simulation by Verilator: preprocess, look at the interface, screen, translate to C++, build, run.

Every step but the screening runs in the sandbox. A candidate's errors come out of the first steps, in the order in
which Icarus Verilog finds them: syntax and elaboration, then what may not be used. What is built was screened.
"""

from __future__ import annotations

import hashlib
import hmac
import signal

from ecot.backends.chip_design.harness import CANDIDATE_FILE, Bench, header_identifiers, make_bench
from ecot.backends.chip_design.judging import ended_early, judge_crash, judge_limits, judge_run
from ecot.backends.chip_design.lint import LintTool, find_verilator
from ecot.backends.chip_design.settings import MEBIBYTE, ChipDesignSettings, read_settings
from ecot.backends.chip_design.simulator import environment_files
from ecot.backends.chip_design.verilator_build import OUTPUT_FOLDER, PREFIX, PROGRAM, ModelBuilder
from ecot.backends.chip_design.verilator_messages import judge_messages, runtime_text, syntax_error
from ecot.backends.chip_design.verilator_source import (
    ambiguity,
    input_ports,
    reachable_text,
    refusals,
    with_batch_calls,
    without_comments,
)
from ecot.backends.sandbox import WORK_DIR, Sandbox, SandboxCommand, SandboxResult, tool_limits
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage
from ecot.tasks.bundle import Task

_WARNINGS = ("-Wno-fatal", "-Wno-lint", "-Wno-style", "-Werror-MODDUP")
_PROBE_FLAGS = ("--lint-only", "--timing", *_WARNINGS)
TRANSLATE_FLAGS = (
    *("--cc", "--timing", "--output-split", "0"),
    # Two states: what was never written gets a value from the seed, so that reading it shows.
    *("--x-assign", "unique", "--x-initial", "unique"),
    *_WARNINGS,
)
_UNROLLING = ("--unroll-stmts", "2000")
"""A testbench's loops, written out, would make most of the C++ and so of the cost; arrays in a design need some."""
_NOT_UNROLLED = b"%Error-BLKLOOPINIT"
_PREPROCESSED_BYTES = 4 * MEBIBYTE
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL)

_EXIT_FATAL_TASK, _EXIT_RUNTIME = 3, 4
"""As `verilator_main.cpp` has them."""


class VerilatorSimulator:
    """Two states, seconds of compilation, then fast: for long simulations, and for what Icarus cannot read."""

    def __init__(self, sandbox: Sandbox, secret: bytes) -> None:
        """Find the tools.

        Raises:
            MissingToolError: Verilator or g++ is not installed.
        """
        self._tool: LintTool = find_verilator("set the backend's option `simulator` to icarus")
        self._sandbox = sandbox
        self._secret = secret
        self._builder = ModelBuilder(sandbox, self._tool.root)
        self.title = f"Verilator {self._tool.version}"
        key = hashlib.sha256(secret).hexdigest()
        self.identity = "\0".join(
            ("simulated by", self._tool.identity, *_UNROLLING, *TRANSLATE_FLAGS, self._builder.identity, key)
        )

    async def judge(self, task: Task, code: str, samples: int | None) -> Execution:
        """Compile and simulate; see `Simulator`."""
        settings = read_settings(task)
        bench = make_bench(task, code, self._secret)
        text = await self.screen(task, code, bench, settings)
        if isinstance(text, Execution):
            return text
        generated = await self._translate(task, text, bench, settings)
        if isinstance(generated, Execution):
            return generated
        seed = int(hmac.new(self._secret, bench.nonce.encode(), hashlib.sha256).hexdigest()[:7], 16) + 1
        program = await self._builder.build(generated, seed, settings.build_seconds)
        if isinstance(program, Execution):
            return program
        ran = await self._sandbox.run(
            SandboxCommand(
                argv=(f"{WORK_DIR}/{PROGRAM}",),
                inputs={PROGRAM: program},
                limits=tool_limits(settings.run_seconds, settings.memory_mib, settings.output_kib * 1024),
            )
        )
        return judge_run(ran, bench, task.entry, samples, (), "the simulation", _explain)

    async def screen(self, task: Task, code: str, bench: Bench, settings: ChipDesignSettings) -> str | Execution:
        """The text of a candidate that may be built, preprocessed; or the outcome of one that may not."""
        # Verilator drops carriage returns before it looks for the end of a comment or a string.
        plain = code.encode("utf-8", "replace").decode("utf-8").replace("\r", "")
        if problem := ambiguity(plain):
            return syntax_error(*problem)
        plain = without_comments(plain)
        text = await self._preprocess(task, plain, bench, settings) if "`" in plain else plain
        if isinstance(text, Execution):
            return text
        if (objected := await self._probe(task, text, bench, settings)) is not None:
            return objected
        # Macros can put together what was not to be seen before.
        if problem := ambiguity(text):
            return syntax_error(*problem)
        refused = refusals(text)
        if refused:
            text = reachable_text(text, task.entry)
            refused = refusals(text)
        if refused:
            said = f"{CANDIDATE_FILE}: error: {', '.join(refused)} may not be used in this environment\n"
            return Execution(Label.PROTOCOL_VIOLATION, "sandbox_denial", Stage.COMPILE, said)
        return with_batch_calls(text)

    async def _preprocess(self, task: Task, text: str, bench: Bench, settings: ChipDesignSettings) -> str | Execution:
        """The text with its macros and inclusions carried out, the testbench out of sight."""
        files = {**environment_files(task), CANDIDATE_FILE: text.encode()}
        result = await self._verilate(("-E", CANDIDATE_FILE), files, settings, output_bytes=_PREPROCESSED_BYTES)
        if result.exit_code != 0:
            return _refused(result, bench, preprocessing=True)
        return result.stdout.decode("utf-8", "replace")

    async def _probe(self, task: Task, text: str, bench: Bench, settings: ChipDesignSettings) -> Execution | None:
        """What Verilator says of the candidate with constants at the reference's inputs; None if it is content.

        An `inout` or `output` where the reference has an input would drive the testbench's own variable.
        """
        header = header_identifiers(task.reference, task.entry) or frozenset()
        pins = ", ".join(f".{name}('0)" for name in input_ports(task.reference, task.entry, header))
        top, probe = f"probe{bench.suffix}", f"{bench.folder}/probe.sv"
        text_of_probe = f"module {top}; {task.entry} probed{bench.suffix} ({pins}); endmodule\n"
        # The testbench may include modules that the candidate instantiates.
        files = self._sources(task, text, bench) | {probe: text_of_probe.encode()}
        arguments = (*_PROBE_FLAGS, "--top-module", top, bench.file_name, probe, CANDIDATE_FILE)
        result = await self._verilate(arguments, files, settings)
        return None if result.exit_code == 0 else _refused(result, bench)

    async def _translate(
        self, task: Task, text: str, bench: Bench, settings: ChipDesignSettings
    ) -> dict[str, bytes] | Execution:
        """The generated C++, by name under `OUTPUT_FOLDER`, or what Verilator has against candidate and testbench."""
        files = self._sources(task, text, bench)
        arguments = (
            *(*TRANSLATE_FLAGS, "--prefix", PREFIX, "--Mdir", OUTPUT_FOLDER),
            # The testbench first, so that nothing the candidate defines or leaves open reaches it.
            *("--top-module", bench.top, bench.file_name, CANDIDATE_FILE),
        )
        result = await self._verilate((*_UNROLLING, *arguments), files, settings, outputs=(OUTPUT_FOLDER,))
        if _NOT_UNROLLED in result.stderr:
            result = await self._verilate(arguments, files, settings, outputs=(OUTPUT_FOLDER,))
        if result.exit_code != 0:
            return _refused(result, bench)
        generated = {name: data for name, data in result.outputs.items() if name.endswith((".cpp", ".h"))}
        if not generated:
            raise ToolError("verilator ended well but wrote no C++")
        return generated

    @staticmethod
    def _sources(task: Task, text: str, bench: Bench) -> dict[str, bytes]:
        return {**environment_files(task), bench.file_name: bench.text.encode(), CANDIDATE_FILE: text.encode()}

    async def _verilate(
        self,
        arguments: tuple[str, ...],
        files: dict[str, bytes],
        settings: ChipDesignSettings,
        *,
        output_bytes: int = MEBIBYTE,
        outputs: tuple[str, ...] = (),
    ) -> SandboxResult:
        return await self._sandbox.run(
            SandboxCommand(
                argv=(self._tool.program, *arguments),
                inputs=files,
                outputs=outputs,
                limits=tool_limits(settings.compile_seconds, settings.memory_mib, output_bytes),
                read_only=(self._tool.root,),
                environment={"VERILATOR_ROOT": str(self._tool.root)},
            )
        )


def _refused(result: SandboxResult, bench: Bench, preprocessing: bool = False) -> Execution:
    """The outcome of a run of Verilator that failed."""
    if result.signal in _CRASHES and b"bad_alloc" not in result.stderr:
        text = "the compiler crashed on this source\n"
        return Execution(Label.COMPILATION_ERROR, "unsupported", Stage.COMPILE, text)
    return judge_limits(result, "verilator") or judge_messages(result.stderr, bench, preprocessing)


def _explain(result: SandboxResult, bench: Bench, entry: str) -> Execution:
    """Why a simulation ended without a verdict, or badly after it."""
    if (crashed := judge_crash(result)) is not None:
        return crashed
    if result.exit_code == _EXIT_FATAL_TASK:
        text = runtime_text(result.stdout, bench, entry) or "$fatal\n"
        return Execution(Label.RUNTIME_ERROR, "assertion", Stage.RUN, text)
    if b"converge" in result.stderr:
        text = "the simulation was stopped: a loop without delay never settles\n"
        return Execution(Label.TIMEOUT, "run", Stage.RUN, text)
    if result.exit_code != 0:
        text = runtime_text(result.stderr, bench, entry) or f"exit code {result.exit_code}\n"
        return Execution(Label.RUNTIME_ERROR, "", Stage.RUN, text)
    return ended_early()
