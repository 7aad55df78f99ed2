"""The backend: screen the source, build, look for copies, run against the baseline, count instructions."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace

from ecot.backends.candidate_text import screen_source
from ecot.backends.code_optimization.building import COMPILE_FLAGS, Built, Parts, build, build_parts, file_name
from ecot.backends.code_optimization.copying import normalised_source
from ecot.backends.code_optimization.inputs import draw_cases, encode
from ecot.backends.code_optimization.judging import judge_build, judge_run, judge_values
from ecot.backends.code_optimization.running import Count, Inputs, count_program, run_program, time_pairs
from ecot.backends.code_optimization.settings import BASELINE_FILE, CodeSettings, Plan, read_plan, read_settings
from ecot.backends.code_optimization.tool import Toolchain, find_toolchain
from ecot.backends.concurrency import Slots
from ecot.backends.fingerprint import fingerprint_of
from ecot.backends.sandbox import CommandRunner, Sandbox, ToolPool, find_sandbox
from ecot.backends.tool_backend import DEFAULT_SECRET, SHORT, ToolBackend, default_workers
from ecot.errors import DataError, ToolError
from ecot.outcomes import Domain, Execution, Label, Stage
from ecot.tasks.bundle import Task

LANGUAGES = ("c", "asm")


@dataclass(frozen=True)
class _Prepared:
    """What all candidates of a task share."""

    settings: CodeSettings
    plan: Plan
    baseline: bytes
    """The baseline's program."""
    instructions: tuple[str, ...]
    """The compiler's output for the baseline."""
    source: tuple[str, ...]
    """The baseline's normalised tokens."""


class AssemblyBackend(ToolBackend):
    """Runs C and assembly candidates against what gcc -O3 makes of the task's baseline."""

    name = "assembly"
    domains = frozenset({Domain.CODE_OPTIMIZATION})

    def __init__(self, *, workers: int | None = None, secret: str = DEFAULT_SECRET, timing_pairs: int = 0) -> None:
        """Find tools and sandbox.

        Args:
            workers: executions at once; by default twice the number of cores that this process may use, or once where
                runs are timed.
            secret: key of test inputs and nonces. The default gives the same outcomes everywhere. Set one of your own
                where candidates may have been written, with knowledge of this package, to deceive it.
            timing_pairs: runs of baseline and candidate in turn, timed, for candidates that pass; 0 for none. The
                figures differ from run to run and decide no label.

        Raises:
            MissingToolError: a tool is not installed.
            SandboxError: no sandbox can be had.
        """
        self._tools: Toolchain = find_toolchain()
        if workers is None:
            workers = default_workers() if timing_pairs else default_workers(SHORT)
        self._sandbox: Sandbox = find_sandbox()
        # A candidate's program gets a sandbox of its own. The compiler's stay, and so do those of our own programs.
        self._compilers = ToolPool(workers=workers)
        self._own_programs = ToolPool(workers=workers, process_files=True)  # valgrind needs a /proc
        self._secret = secret.encode()
        self._timing_pairs = timing_pairs
        self._turns: dict[str, Slots] = {}
        self._parts: Parts | None = None
        self._prepared: dict[str, _Prepared] = {}
        self._first_references: dict[str, Execution] = {}
        words = [self._tools.identity, *COMPILE_FLAGS, hashlib.sha256(self._secret).hexdigest(), str(timing_pairs)]
        super().__init__(workers, fingerprint_of(words, ("code_optimization",), (".py", ".c")))

    def close(self) -> None:
        """End the sandboxes that stay; the next execution starts new ones."""
        self._compilers.close()
        self._own_programs.close()

    async def _outcome(self, task: Task, code: str) -> Execution:
        prepared = await self._prepare_task(task)
        # The reference was run to see that the task is sound; its first outcome need not be found twice.
        known = self._first_references.pop(task.hash, None) if code == task.reference else None
        return known or await self._judge(task, code, prepared)

    async def _prepare_task(self, task: Task) -> _Prepared:
        """Build the baseline and try the reference, once per task."""
        key = task.hash
        async with self._turns.setdefault("", Slots(1)).take():
            if self._parts is None:
                self._parts = await build_parts(self._compilers, self._tools)
        async with self._turns.setdefault(key, Slots(1)).take():
            if key not in self._prepared:
                prepared = await self._build_baseline(task)
                reference = await self._judge(task, task.reference, prepared)
                if not reference.passed:
                    raise ToolError(
                        f"task {task.id}: the reference does not pass with {self._tools.description}: "
                        f"{reference.label} {reference.subcode}\n{reference.diagnostics}"
                    )
                self._prepared[key] = prepared
                self._first_references[key] = reference
        return self._prepared[key]

    async def _build_baseline(self, task: Task) -> _Prepared:
        if task.language not in LANGUAGES:
            raise DataError(f"task {task.id}: language {task.language!r}; allowed: {', '.join(LANGUAGES)}")
        if BASELINE_FILE not in task.environment:
            raise DataError(f"task {task.id}: no environment file {BASELINE_FILE!r}")
        settings, plan = read_settings(task), read_plan(task)
        source = task.environment[BASELINE_FILE]
        built = await self._build(task, BASELINE_FILE, source, settings)
        failed = judge_build(built, task, settings)
        if failed is not None or built.program is None or built.listing is None:
            text = failed.diagnostics if failed else ""
            raise ToolError(f"task {task.id}: {BASELINE_FILE} does not compile with {self._tools.description}\n{text}")
        return _Prepared(settings, plan, built.program, built.listing.instructions, normalised_source(source))

    async def _build(self, task: Task, name: str, code: str, settings: CodeSettings) -> Built:
        assert self._parts is not None
        return await build(self._compilers, self._tools, self._parts, task, name, code, settings)

    async def _judge(self, task: Task, code: str, prepared: _Prepared) -> Execution:
        name = file_name(task)
        if refused := screen_source(code, name):
            return refused
        if task.language == "c" and normalised_source(code) == prepared.source:
            return _copied(f"{name} is the baseline's source, names and layout aside\n", Stage.PARSE)
        built = await self._build(task, name, code, prepared.settings)
        if failed := judge_build(built, task, prepared.settings):
            return failed
        assert built.program is not None and built.listing is not None
        by_hand = task.language == "asm" or "asm" in code
        if by_hand and built.listing.instructions == prepared.instructions:
            return _copied(f"{name} is what gcc -O3 makes of the baseline, labels and layout aside\n", Stage.COMPILE)
        inputs = self._inputs(task, code, prepared.plan)
        execution = await self._check_values(task, built.program, prepared, inputs)
        if not execution.passed:
            return execution
        execution = await self._check_count(task, built.program, prepared, inputs, execution)
        if execution.passed and self._timing_pairs > 1:
            programs = (built.program, prepared.baseline)
            timing = await time_pairs(self._sandbox, *programs, inputs, prepared.settings, self._timing_pairs)
            execution = replace(execution, metrics={**execution.metrics, **timing})
        return execution

    def _inputs(self, task: Task, code: str, plan: Plan) -> Inputs:
        cases = draw_cases(plan, int(self._derive(task, code, "inputs"), 16), f"task {task.id}")
        nonce = bytes.fromhex(self._derive(task, code, "nonce"))[:16]
        return Inputs(cases, nonce, encode(cases, nonce))

    def _derive(self, task: Task, code: str, purpose: str) -> str:
        message = "\0".join((purpose, task.hash, code)).encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

    async def _check_values(self, task: Task, program: bytes, prepared: _Prepared, inputs: Inputs) -> Execution:
        """Expected values come from the baseline in a process of its own."""
        run = await run_program(self._sandbox, program, inputs, prepared.settings)
        if failed := judge_run(run.result, run.transcript, inputs.cases):
            return failed
        baseline = await run_program(self._own_programs, prepared.baseline, inputs, prepared.settings)
        if failed := judge_run(baseline.result, baseline.transcript, inputs.cases):
            raise ToolError(f"task {task.id}: {BASELINE_FILE}: {failed.label} {failed.subcode}: {failed.diagnostics}")
        return judge_values(run.transcript, baseline.transcript, prepared.plan, inputs.cases)

    async def _check_count(
        self, task: Task, program: bytes, prepared: _Prepared, inputs: Inputs, execution: Execution
    ) -> Execution:
        assert self._parts is not None
        valgrind = self._tools.path("valgrind")

        async def count(runner: CommandRunner, item: bytes) -> Count:
            return await count_program(runner, valgrind, item, inputs, prepared.settings)

        stub = await count(self._own_programs, self._parts.stub)
        baseline = await count(self._own_programs, prepared.baseline)
        candidate = await count(self._sandbox, program)
        if stub.instructions is None or baseline.instructions is None:
            text = f"{stub.run.result}" if stub.instructions is None else f"{baseline.run.result}"
            raise ToolError(f"task {task.id}: callgrind does not count the baseline: {text[-2000:]}")
        if failed := judge_run(candidate.run.result, candidate.run.transcript, inputs.cases):
            return replace(failed, diagnostics=f"under callgrind: {failed.diagnostics}")
        values = judge_values(candidate.run.transcript, baseline.run.transcript, prepared.plan, inputs.cases)
        if not values.passed:
            return replace(values, diagnostics=f"under callgrind: {values.diagnostics}")
        if candidate.instructions is None or candidate.system_calls != stub.system_calls:
            text = "under callgrind: the function made system calls, or ended the process\n"
            return Execution(Label.PROTOCOL_VIOLATION, "sandbox_denial", Stage.RUN, text)
        # Of the stub, one `ret` per call is its own.
        harness = stub.instructions - len(inputs.cases)
        ours, theirs = candidate.instructions - harness, baseline.instructions - harness
        return _judge_count(ours, theirs, prepared.settings.max_ratio, execution)


def _judge_count(ours: int, theirs: int, max_ratio: float, execution: Execution) -> Execution:
    ratio = ours / theirs
    counts = {"instructions": float(ours), "baseline_instructions": float(theirs), "ratio": round(ratio, 6)}
    text = f"{ours} instructions; gcc -O3 needs {theirs} for the same calls (ratio {ratio:.3f}, at most {max_ratio})\n"
    label = Label.PASS if ratio <= max_ratio else Label.NOT_IMPROVED
    metrics = {**execution.metrics, **counts}
    return replace(execution, label=label, diagnostics=execution.diagnostics + text, metrics=metrics)


def _copied(text: str, stage: Stage) -> Execution:
    return Execution(Label.PROTOCOL_VIOLATION, "copied", stage, text)
