"""From what the sandbox saw to an outcome."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from ecot.backends.chip_design.diagnostics import classify_compilation, describe_verdict, normalise
from ecot.backends.chip_design.harness import CANDIDATE_FILE, Bench, TimeUnit
from ecot.backends.chip_design.verdict import Verdict, has_spoofed_verdict, read_verdict
from ecot.backends.sandbox import SandboxResult
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage


def refuse_broken_run(result: SandboxResult, program: str) -> None:
    """Refuse to judge a candidate by what the machine did: out of memory, out of processes, or too busy.

    Neither compiler nor simulator waits for anything, so a candidate uses up its processor time long before the wall
    deadline unless the machine is overloaded; nor can it kill anything.

    Raises:
        ToolError: the end of `program` says nothing about the candidate; another try may.
    """
    if result.output_truncated or result.memory_exhausted:
        return  # stopped by the supervisor or the kernel, for a reason that the candidate gave
    if result.deadline_passed:
        raise ToolError(
            f"{program} was stopped after {result.seconds:.0f} s of real time with processor time left: "
            "the machine is overloaded; run fewer workers"
        )
    # A shell between the driver and the compiler proper says so as its last word, perhaps behind half a line.
    last = (result.stderr.splitlines() or [b""])[-1].rstrip()
    if result.signal == signal.SIGKILL or last.endswith(b"Killed"):
        raise ToolError(f"{program} was killed from outside: is the machine out of memory?")
    if last.endswith(b"Cannot fork"):
        raise ToolError(f"{program} could not start a process: is a limit on processes reached?")


def judge_compilation(result: SandboxResult, bench: Bench, entry: str) -> Execution:
    """The outcome of a compilation that left no program.

    Raises:
        ToolError: the compiler failed for a reason that is not the candidate's.
    """
    if (stopped := judge_limits(result, "iverilog")) is not None:
        return stopped
    messages = normalise(result.stderr + result.stdout, bench, entry)
    # The exit code is the number of errors modulo 256.
    if result.exit_code == 0 and ": error: " not in messages:
        raise ToolError(f"iverilog ended well but wrote no program: {messages}")
    return Execution(Label.COMPILATION_ERROR, classify_compilation(messages), Stage.COMPILE, messages)


def judge_limits(result: SandboxResult, program: str) -> Execution | None:
    """The outcome of a compilation that left nothing because it reached a limit; None if it had something to say.

    Raises:
        ToolError: it failed for a reason that is not the candidate's.
    """
    refuse_broken_run(result, program)
    said = result.stderr.splitlines()
    if result.cpu_exhausted or b"CPU time limit exceeded" in said:
        return Execution(Label.TIMEOUT, "compile", Stage.COMPILE, "the compiler was stopped: out of time\n")
    if result.output_truncated:
        return Execution(Label.RESOURCE_EXCEEDED, "output", Stage.COMPILE, "the compiler was stopped: output flood\n")
    if b"File size limit exceeded" in said:
        text = "the compiler was stopped: the source is too large once preprocessed\n"
        return Execution(Label.RESOURCE_EXCEEDED, "", Stage.COMPILE, text)
    if b"bad_alloc" in result.stderr or b"memory exhausted" in result.stderr or result.memory_exhausted:
        return Execution(
            Label.MEMORY_FAULT, "out_of_memory", Stage.COMPILE, "the compiler was stopped: out of memory\n"
        )
    if result.exit_code != 0 and not (result.stderr + result.stdout).strip():
        raise ToolError(f"{program} failed without a word (exit code {result.exit_code}, signal {result.signal})")
    return None


Explanation = Callable[[SandboxResult, Bench, str], Execution]
"""From what the sandbox saw of a simulation without a verdict, its testbench and the candidate's module."""


def judge_run(
    result: SandboxResult,
    bench: Bench,
    entry: str,
    samples: int | None,
    unknown: Sequence[str],
    program: str = "vvp",
    explain: Explanation | None = None,
) -> Execution:
    """The outcome of a simulation.

    Args:
        result: what the simulator did.
        bench: the testbench that was used.
        entry: the candidate's module.
        samples: how many samples have to be checked; None if this run tells.
        unknown: system tasks of the program that the tool is not expected to know.
        program: the name of what ran, for errors that are not the candidate's.
        explain: says why a simulation ended without a verdict; by default as Icarus Verilog tells it.

    Raises:
        ToolError: the simulation ended for a reason that is not the candidate's.
    """
    refuse_broken_run(result, program)
    text = result.stdout.decode("utf-8", "replace")
    if result.output_truncated:
        return Execution(Label.RESOURCE_EXCEEDED, "output", Stage.RUN, "the simulation was stopped: output flood\n")
    if has_spoofed_verdict(text, bench.nonce):
        return Execution(
            Label.PROTOCOL_VIOLATION, "spoofed_verdict", Stage.CHECK, "the candidate printed a verdict of its own\n"
        )
    if result.cpu_exhausted:
        return Execution(Label.TIMEOUT, "run", Stage.RUN, "the simulation was stopped: out of time\n")
    verdict = read_verdict(text, bench.nonce)
    if verdict is None or result.exit_code != 0:
        return (explain or _failed_run)(result, bench, entry)
    if unknown:
        # This version of the tool defines what it should not know; what that does is anyone's guess.
        message = f"{CANDIDATE_FILE}: error: {', '.join(unknown)} may not be used in this environment\n"
        return Execution(Label.PROTOCOL_VIOLATION, "sandbox_denial", Stage.RUN, message)
    return _judge_verdict(verdict, bench.time_unit, samples)


def _failed_run(result: SandboxResult, bench: Bench, entry: str) -> Execution:
    """A simulation that ended without a verdict, or badly after it."""
    if (crashed := judge_crash(result)) is not None:
        return crashed
    messages = normalise(result.stderr, bench, entry)
    fatal = [line for line in result.stdout.decode("utf-8", "replace").splitlines() if line.startswith("FATAL:")]
    if "is not defined by any module" in messages:
        return Execution(Label.RUNTIME_ERROR, "undefined_task", Stage.RUN, messages)
    if fatal and result.exit_code != 0:
        text = normalise(fatal[0].encode(), bench, entry)
        return Execution(Label.RUNTIME_ERROR, "assertion", Stage.RUN, text)
    if result.exit_code != 0:
        return Execution(Label.RUNTIME_ERROR, "", Stage.RUN, messages or f"exit code {result.exit_code}\n")
    return ended_early()


def judge_crash(result: SandboxResult) -> Execution | None:
    """The outcome of a simulation that ran out of memory or died of a signal; None if it ended by itself."""
    if b"bad_alloc" in result.stderr or result.memory_exhausted:
        return Execution(Label.MEMORY_FAULT, "out_of_memory", Stage.RUN, "the simulation was stopped: out of memory\n")
    if result.signal is None:
        return None
    if result.signal != signal.SIGSEGV:
        return Execution(Label.RUNTIME_ERROR, "", Stage.RUN, f"the simulator died of signal {result.signal}\n")
    text = "the simulator crashed: unbounded recursion, or a combinational loop without delay\n"
    return Execution(Label.MEMORY_FAULT, "segv", Stage.RUN, text)


def ended_early() -> Execution:
    """The outcome of a simulation that ended well without a verdict."""
    text = "the simulation ended before all checks were done ($finish or $stop in the candidate)\n"
    return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text)


def _judge_verdict(verdict: Verdict, unit: TimeUnit, samples: int | None) -> Execution:
    metrics = {"samples": float(verdict.samples), "mismatches": float(verdict.mismatches)}
    if verdict.first is not None:
        metrics["first_mismatch_ns"] = unit.nanoseconds(verdict.first.first_time)
    text = describe_verdict(verdict, unit)
    if verdict.mismatches:
        return Execution(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK, text, metrics)
    if samples is not None and verdict.samples != samples:
        text = f"only {verdict.samples} of {samples} samples were checked\n"
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.CHECK, text, metrics)
    return Execution(Label.PASS, "", Stage.CHECK, text, metrics)
