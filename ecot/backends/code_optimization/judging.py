"""From what the sandbox saw to an outcome."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from ecot.backends.code_optimization.building import COMPILE_FAILED, LINK_FAILED, Built
from ecot.backends.code_optimization.comparing import first_differences
from ecot.backends.code_optimization.diagnostics import classify_compilation, describe_case, normalise
from ecot.backends.code_optimization.inputs import Case
from ecot.backends.code_optimization.listing import Listing, refused_parts, static_mib, unsupported_parts
from ecot.backends.code_optimization.records import Fault, Transcript
from ecot.backends.code_optimization.settings import CodeSettings, Plan
from ecot.backends.sandbox import SandboxResult
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage
from ecot.tasks.bundle import Task

ABI_RULES = (
    *(f"register {name} was not restored" for name in ("rbx", "rbp", "r12", "r13", "r14", "r15")),
    "the stack pointer was not restored",
    "the direction flag was left set",
    "the control bits of mxcsr were changed",
    "the x87 control word was changed",
    "values were left in the x87 registers (after MMX code: emms)",
    "the caller's stack frame was overwritten",
)
"""The System V calling convention, in the order of the harness's bits."""

_IN_STACK, _IN_CODE = 254, 253


def refuse_broken_run(result: SandboxResult, program: str) -> None:
    """Refuse to judge a candidate by what the machine did: nothing here waits, so only load passes a deadline.

    Raises:
        ToolError: the end of `program` says nothing about the candidate; another try may.
    """
    if result.deadline_passed and not result.output_truncated:
        raise ToolError(
            f"{program} was stopped after {result.seconds:.0f} s of real time with processor time left: "
            "the machine is overloaded; run fewer workers"
        )


def judge_build(built: Built, task: Task, settings: CodeSettings) -> Execution | None:
    """The outcome of a compilation, if it ends there.

    Raises:
        ToolError: the compiler failed for a reason that is not the candidate's.
    """
    result, listing = built.result, built.listing
    refuse_broken_run(result, "the compiler")
    said = result.stderr + result.stdout
    if result.cpu_exhausted or b"CPU time limit exceeded" in said:
        return Execution(Label.TIMEOUT, "compile", Stage.COMPILE, "the compiler was stopped: out of time\n")
    if result.output_truncated:
        return Execution(Label.RESOURCE_EXCEEDED, "output", Stage.COMPILE, "the compiler was stopped: output flood\n")
    if any(text in said for text in (b"File size limit", b"No space left", b"file truncated", b"file too big")):
        text = "the compiler was stopped: what it makes is too large\n"
        return Execution(Label.RESOURCE_EXCEEDED, "", Stage.COMPILE, text)
    out_of_memory = any(text in said for text in (b"out of memory", b"memory exhausted", b"can't allocate", b"Killed"))
    if out_of_memory or result.memory_exhausted:
        text = "the compiler was stopped: out of memory\n"
        return Execution(Label.MEMORY_FAULT, "out_of_memory", Stage.COMPILE, text)
    messages = normalise(result.stderr + result.stdout)
    if result.exit_code == COMPILE_FAILED and messages:
        return Execution(Label.COMPILATION_ERROR, classify_compilation(messages), Stage.COMPILE, messages)
    if listing is None:
        raise ToolError(f"the compiler ended with code {result.exit_code}, signal {result.signal}: {messages}")
    return _judge_listing(listing, built.program or b"", task, settings) or _judge_link(built, messages, task)


def _judge_listing(listing: Listing, program: bytes, task: Task, settings: CodeSettings) -> Execution | None:
    if refused := refused_parts(listing, program):
        text = f"error: {', '.join(refused)} may not be used in this environment\n"
        return Execution(Label.PROTOCOL_VIOLATION, "sandbox_denial", Stage.COMPILE, text)
    if unsupported := unsupported_parts(listing):
        return Execution(Label.COMPILATION_ERROR, "unsupported", Stage.COMPILE, f"error: {'; '.join(unsupported)}\n")
    if task.entry not in listing.defined:
        text = f"ld: error: undefined reference to `{task.entry}': no global function of that name\n"
        return Execution(Label.COMPILATION_ERROR, "link", Stage.COMPILE, text)
    if (size := static_mib(listing)) > settings.memory_mib // 2:
        text = f"error: {size} MiB of static data; at most {settings.memory_mib // 2} MiB are there\n"
        return Execution(Label.RESOURCE_EXCEEDED, "ram", Stage.COMPILE, text)
    return None


def _judge_link(built: Built, messages: str, task: Task) -> Execution | None:
    if built.program is not None:
        return None
    if built.result.exit_code != LINK_FAILED or not messages:
        raise ToolError(f"the linker left no program (exit code {built.result.exit_code}): {messages}")
    return Execution(Label.COMPILATION_ERROR, "link", Stage.COMPILE, messages)


def judge_run(result: SandboxResult, transcript: Transcript, cases: Sequence[Case]) -> Execution | None:
    """The outcome of a run that did not come to its end, or broke a rule on the way; None for a clean one.

    Raises:
        ToolError: the run ended for a reason that is not the candidate's.
    """
    if result.cpu_exhausted:
        text = f"stopped in test {len(transcript.results)}: out of time\n"
        return Execution(Label.TIMEOUT, "run", Stage.RUN, text)
    refuse_broken_run(result, "the candidate")
    if transcript.denied is not None:
        text = f"system call {transcript.denied} in test {len(transcript.results)}: the function may make none\n"
        return Execution(Label.PROTOCOL_VIOLATION, "sandbox_denial", Stage.RUN, text)
    if transcript.foreign or result.output_truncated or result.stderr:
        text = "the candidate wrote into the harness's output\n"
        return Execution(Label.PROTOCOL_VIOLATION, "spoofed_verdict", Stage.RUN, text)
    if transcript.fault is not None:
        return _judge_fault(transcript.fault, cases)
    if result.memory_exhausted:
        return Execution(Label.MEMORY_FAULT, "out_of_memory", Stage.RUN, "stopped: out of memory\n")
    if result.signal is not None:
        subcode = {signal.SIGSEGV: "segv", signal.SIGBUS: "bus"}.get(signal.Signals(result.signal), "")
        label = Label.MEMORY_FAULT if subcode else Label.RUNTIME_ERROR
        return Execution(label, subcode, Stage.RUN, f"died of {signal.Signals(result.signal).name}\n")
    if not transcript.ended:
        text = f"the process ended in test {len(transcript.results)} of {len(cases)}, before all calls were made\n"
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text)
    return _judge_traces(transcript, cases)


def judge_values(transcript: Transcript, expected: Transcript, plan: Plan, cases: Sequence[Case]) -> Execution:
    """Whether all values are those of the baseline: PASS, FUNCTIONAL_MISMATCH or NUMERIC_MISMATCH."""
    differences = first_differences(plan, cases, transcript.results, expected.results)
    metrics = {"tests": float(len(cases)), "mismatches": float(len(differences))}
    if not differences:
        return Execution(Label.PASS, "", Stage.CHECK, f"all {len(cases)} tests agree with the baseline\n", metrics)
    first = differences[0]
    metrics["first_mismatch"] = float(first.test)
    text = (
        f"{len(differences)} of {len(cases)} tests differ from the baseline\nfirst in test {first.test}: {first.text}\n"
    )
    is_numeric = all(difference.is_number for difference in differences)
    label = Label.NUMERIC_MISMATCH if is_numeric else Label.FUNCTIONAL_MISMATCH
    return Execution(label, "", Stage.CHECK, text, metrics)


def _judge_fault(fault: Fault, cases: Sequence[Case]) -> Execution:
    case = cases[fault.test]
    where = f"in test {fault.test} ({describe_case(case)})\n"
    if fault.signal == signal.SIGFPE:
        return Execution(Label.RUNTIME_ERROR, "exception", Stage.RUN, f"arithmetic exception (SIGFPE) {where}")
    if fault.signal in (signal.SIGILL, signal.SIGTRAP):
        return Execution(Label.RUNTIME_ERROR, "exception", Stage.RUN, f"illegal instruction or trap {where}")
    if fault.signal == signal.SIGBUS:
        return Execution(Label.MEMORY_FAULT, "bus", Stage.RUN, f"bus error (SIGBUS) {where}")
    if fault.place == _IN_STACK:
        return Execution(Label.MEMORY_FAULT, "stack", Stage.RUN, f"stack overflow {where}")
    if fault.place == _IN_CODE:
        text = f"jump to an address that holds no code (is the stack balanced at `ret`?) {where}"
        return Execution(Label.MEMORY_FAULT, "segv", Stage.RUN, text)
    if fault.place < len(case.blocks):
        verb = "write" if fault.is_write else "read"
        side = "before the start" if fault.distance < 0 else "after the end"
        text = f"{verb} {side} of '{case.blocks[fault.place].spec.name}' {where}"
        return Execution(Label.MEMORY_FAULT, "out_of_bounds", Stage.RUN, text)
    text = f"access to an address that belongs to no argument, or a misaligned one {where}"
    return Execution(Label.MEMORY_FAULT, "segv", Stage.RUN, text)


def _judge_traces(transcript: Transcript, cases: Sequence[Case]) -> Execution | None:
    """Damage that did not fault: overwritten canaries, registers not restored."""
    for test, (result, case) in enumerate(zip(transcript.results, cases, strict=True)):
        where = f"in test {test} ({describe_case(case)})\n"
        for index, block in enumerate(case.blocks):
            if sides := result.canaries >> 2 * index & 3:
                side = "before the start" if sides & 1 else "after the end"
                text = f"write {side} of '{block.spec.name}' {where}"
                return Execution(Label.MEMORY_FAULT, "out_of_bounds", Stage.RUN, text)
        broken = [rule for bit, rule in enumerate(ABI_RULES) if result.abi >> bit & 1]
        if broken:
            text = f"calling convention broken: {', '.join(broken)} {where}"
            return Execution(Label.RUNTIME_ERROR, "abi", Stage.RUN, text)
    return None
