"""From what the sandbox saw to an outcome."""

from __future__ import annotations

import signal

from ecot.backends.embedded.diagnostics import (
    CANDIDATE_FILE,
    classify_compilation,
    describe_comparison,
    emulator_notes,
    normalise,
    overflowed_region,
)
from ecot.backends.embedded.emulator import ASLEEP_EXIT_CODE, NANOSECONDS_PER_INSTRUCTION
from ecot.backends.embedded.faults import classify_fault, describe_fault, parse_fault
from ecot.backends.embedded.frames import Report, compare
from ecot.backends.sandbox import SandboxResult
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage

_ASLEEP = b"icount sleep disabled and no active timers"
"""QEMU's warning that the device sleeps and that nothing can wake it."""

INSTRUCTIONS_PER_MICROSECOND = 1000 // NANOSECONDS_PER_INSTRUCTION


def _refuse_outside_kill(result: SandboxResult, program: str) -> None:
    if result.signal == signal.SIGKILL and not result.output_truncated and not result.deadline_passed:
        raise ToolError(f"{program} was killed from outside: is the machine out of memory?")
    if b"Cannot fork" in result.stderr or b"Resource temporarily unavailable" in result.stderr:
        raise ToolError(f"{program} could not start a process: is a limit on processes reached?")


def judge_build(result: SandboxResult) -> Execution:
    """The outcome of a build that left no image.

    Raises:
        ToolError: the compiler failed for a reason that is not the candidate's.
    """
    if result.deadline_passed:
        raise ToolError(
            f"arm-none-eabi-gcc was stopped after {result.seconds:.0f} s of real time with processor time left: "
            "the machine is overloaded; run fewer workers"
        )
    _refuse_outside_kill(result, "arm-none-eabi-gcc")
    said = result.stderr
    if result.cpu_exhausted or b"CPU time limit exceeded" in said:
        return Execution(Label.TIMEOUT, "compile", Stage.COMPILE, "the compiler was stopped: out of time\n")
    if b"File size limit exceeded" in said or b"No space left on device" in said or b"file truncated" in said:
        text = "the compiler was stopped: what it made is too large\n"
        return Execution(Label.RESOURCE_EXCEEDED, "", Stage.COMPILE, text)
    if result.output_truncated:
        return Execution(Label.RESOURCE_EXCEEDED, "output", Stage.COMPILE, "the compiler was stopped: output flood\n")
    if b"out of memory" in said or b"memory exhausted" in said or b"Cannot allocate memory" in said:
        text = "the compiler was stopped: out of memory\n"
        return Execution(Label.MEMORY_FAULT, "out_of_memory", Stage.COMPILE, text)
    messages = normalise(said + result.stdout)
    if result.exit_code == 0 or not messages:
        raise ToolError(f"arm-none-eabi-gcc left no image and no word (exit code {result.exit_code}): {messages}")
    if region := overflowed_region(messages):
        return Execution(Label.RESOURCE_EXCEEDED, region, Stage.COMPILE, messages)
    return Execution(Label.COMPILATION_ERROR, classify_compilation(messages), Stage.COMPILE, messages)


def judge_run(
    result: SandboxResult, report: Report, expected: Report, image: bytes, metrics: dict[str, float]
) -> Execution:
    """The outcome of a run.

    Args:
        result: what the emulator did.
        report: what the bench told; the expected one too, and what came out of USART2 if that is compared.
        expected: what the bench told of the reference.
        image: the ELF file, for names of functions.
        metrics: what the linker counted.

    Raises:
        ToolError: the run ended for a reason that is not the candidate's.
    """
    _refuse_outside_kill(result, "the emulator")
    if report.forged or len(report.cases) > len(expected.cases):
        text = "the candidate printed lines that pose as the test bench's\n"
        return Execution(Label.PROTOCOL_VIOLATION, "spoofed_verdict", Stage.CHECK, text)
    if result.output_truncated:
        text = "the run was stopped: endless output, or endless accesses to hardware that is not modelled\n"
        return Execution(Label.RESOURCE_EXCEEDED, "output", Stage.RUN, text)
    stopped = _stopped(result, report)
    if stopped is not None:
        return stopped
    notes = "".join(f"{line}\n" for line in emulator_notes(result.stderr))
    ending = _bad_ending(report, image, notes)
    if ending is not None:
        return ending
    if not report.ended:
        if result.exit_code != 0:
            said = result.stderr.decode("utf-8", "replace").strip()
            raise ToolError(f"the emulator ended with exit code {result.exit_code}: {said[-300:]}")
        text = f"the device was reset before the test bench had ended, in case {len(report.cases)}\n{notes}"
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text)
    return _judge_report(report, expected, notes, metrics)


def _stopped(result: SandboxResult, report: Report) -> Execution | None:
    """Runs that the host had to end, and lock-ups."""
    where = f", in case {len(report.cases)}" if report.cases else ""
    if result.cpu_exhausted:
        text = f"the run was stopped: out of time, and the device's own deadline was switched off{where}\n"
        return Execution(Label.TIMEOUT, "run", Stage.RUN, text)
    asleep = result.exit_code == ASLEEP_EXIT_CODE or (result.deadline_passed and _ASLEEP in result.stderr)
    if asleep and not report.ending:
        text = f"the run was stopped: the device sleeps and no interrupt can wake it{where}\n"
        return Execution(Label.TIMEOUT, "run", Stage.RUN, text)
    if result.deadline_passed:
        raise ToolError(
            f"the emulator was stopped after {result.seconds:.0f} s of real time with processor time left: "
            "the machine is overloaded; run fewer workers"
        )
    if result.signal is not None:
        if result.signal == signal.SIGABRT and b"Lockup" in result.stderr:
            text = f"the processor locked up: a fault inside a fault handler, or with a broken stack{where}\n"
            return Execution(Label.MEMORY_FAULT, "lockup", Stage.RUN, text)
        raise ToolError(
            f"the emulator died of signal {result.signal}: {result.stderr[-300:].decode('utf-8', 'replace')}"
        )
    return None


def _bad_ending(report: Report, image: bytes, notes: str) -> Execution | None:
    """Endings that the bench told of, other than its last word."""
    where = f"in case {len(report.cases)}" if report.cases else "before the first case"
    if report.overrun:
        text = (
            f"buffer {report.overrun} was written beyond its end or before its start, in case {report.overrun_case}\n"
        )
        return Execution(Label.MEMORY_FAULT, "out_of_bounds", Stage.RUN, text)
    if report.ending == "fault":
        fault = parse_fault(report.detail)
        label, subcode = classify_fault(fault)
        return Execution(label, subcode, Stage.RUN, f"{describe_fault(fault, image)}{where}\n{notes}")
    if report.ending == "exception":
        text = f"exception {report.detail} was taken, for which there is no handler, {where}\n{notes}"
        return Execution(Label.RUNTIME_ERROR, "exception", Stage.RUN, text)
    if report.ending == "assert":
        line, _, expression = report.detail.partition(" ")
        text = f"{CANDIDATE_FILE}:{line}: assertion '{expression}' failed, {where}\n"
        return Execution(Label.RUNTIME_ERROR, "assertion", Stage.RUN, text)
    if report.ending == "deadline":
        milliseconds = int(report.detail) // 1000
        text = f"the run was stopped after {milliseconds} ms of device time, {where}\n{notes}"
        return Execution(Label.TIMEOUT, "run", Stage.RUN, text)
    return None


def _judge_report(report: Report, expected: Report, notes: str, metrics: dict[str, float]) -> Execution:
    comparison = compare(expected, report)
    if comparison.tampered_case:
        text = f"the test bench's own data were overwritten, seen in case {comparison.tampered_case}\n{notes}"
        return Execution(Label.MEMORY_FAULT, "out_of_bounds", Stage.CHECK, text)
    metrics = {**metrics, "cases": float(comparison.samples), "mismatches": float(len(comparison.mismatches))}
    words = report.detail.split()
    if len(words) == 3 and all(word.isdecimal() for word in words):
        metrics["stack_bytes"] = float(words[1])
        metrics["instructions"] = float(int(words[2]) * INSTRUCTIONS_PER_MICROSECOND)
    text = describe_comparison(comparison) + notes
    if comparison.mismatches:
        metrics["first_mismatch_case"] = float(comparison.mismatches[0].case)
        return Execution(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK, text, metrics)
    if len(report.cases) != len(expected.cases):
        text = f"only {len(report.cases)} of {len(expected.cases)} cases were run\n"
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.CHECK, text, metrics)
    return Execution(Label.PASS, "", Stage.CHECK, text, metrics)
