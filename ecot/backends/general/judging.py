"""From what the sandbox saw to an outcome."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

from ecot.backends.general.comparing import is_same, show, without_addresses
from ecot.backends.general.records import Foreign, Outcome, Raised, Returned, Transcript
from ecot.backends.general.runner import HANGS
from ecot.backends.general.settings import GeneralSettings
from ecot.backends.sandbox import SandboxResult
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage
from ecot.tasks.bundle import Task

CANDIDATE_FILE = "candidate.py"


def judge_run(result: SandboxResult, transcript: Transcript, task: Task) -> Execution | None:
    """The outcome of a run that did not come to its end; None for one that did.

    Raises:
        ToolError: the run ended for a reason that is not the candidate's.
    """
    if transcript.foreign and not (result.cpu_exhausted or result.output_truncated or result.deadline_passed):
        text = "the candidate wrote into the harness's output\n"
        return Execution(Label.PROTOCOL_VIOLATION, "spoofed_verdict", Stage.RUN, text)
    place = f"call {len(transcript.outcomes)}"
    if result.cpu_exhausted:
        return Execution(Label.TIMEOUT, "run", Stage.RUN, f"stopped in {place}: out of time\n")
    if result.output_truncated:
        return Execution(Label.RESOURCE_EXCEEDED, "output", Stage.RUN, "stopped: output flood\n")
    if result.exit_code == HANGS:
        text = f"stopped in {place}: it waits for something that does not come\n"
        return Execution(Label.TIMEOUT, "run", Stage.RUN, text)
    if result.deadline_passed:
        raise ToolError(
            f"a candidate was stopped after {result.seconds:.0f} s of real time with processor time left: "
            "the machine is overloaded; run fewer workers"
        )
    if result.memory_exhausted or result.stderr.rstrip().endswith(b"MemoryError"):
        return Execution(Label.MEMORY_FAULT, "out_of_memory", Stage.RUN, f"stopped in {place}: out of memory\n")
    if result.signal is not None:
        return _judge_signal(result.signal, place)
    return _judge_loading(transcript, task) or _judge_end(transcript, place)


def _judge_signal(number: int, place: str) -> Execution:
    name = signal.Signals(number).name
    # Where a kill struck is chance.
    text = f"the interpreter died of {name}{'' if number == signal.SIGKILL else f' in {place}'}\n"
    if number in (signal.SIGSEGV, signal.SIGBUS):
        return Execution(Label.MEMORY_FAULT, "segv" if number == signal.SIGSEGV else "bus", Stage.RUN, text)
    if number == signal.SIGKILL:
        # Limits tell of themselves; what is left is a candidate that kills.
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text)
    return Execution(Label.RUNTIME_ERROR, "", Stage.RUN, text)


def _judge_loading(transcript: Transcript, task: Task) -> Execution | None:
    if error := transcript.syntax:
        text = f"{CANDIDATE_FILE}:{error.line}: {error.name}: {error.message}\n"
        return Execution(Label.COMPILATION_ERROR, "syntax", Stage.COMPILE, text)
    if transcript.missing:
        text = f"{CANDIDATE_FILE}: error: defines no function '{task.entry}'\n"
        return Execution(Label.COMPILATION_ERROR, "link", Stage.COMPILE, text)
    if transcript.load is not None:
        return _judge_exception(transcript.load, "on loading", {})
    return None


def _judge_end(transcript: Transcript, place: str) -> Execution | None:
    if transcript.ended:
        return None
    last = transcript.outcomes[-1] if transcript.outcomes else None
    if isinstance(last, Raised):
        # After these the runner makes no further call.
        failed = _judge_exception(last, f"call {len(transcript.outcomes) - 1}", {})
        if failed.label is not Label.RUNTIME_ERROR:
            return failed
    text = f"the process ended in {place}, before all calls were made\n"
    return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text)


def _judge_exception(error: Raised, place: str, metrics: dict[str, float]) -> Execution:
    line = f" (line {error.line})" if error.line else ""
    text = f"{place}: {error.name}: {without_addresses(error.message)}{line}\n"
    if error.name == "MemoryError":
        return Execution(Label.MEMORY_FAULT, "out_of_memory", Stage.RUN, text, metrics)
    if error.name in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text, metrics)
    subcode = "assertion" if error.name == "AssertionError" else "exception"
    return Execution(Label.RUNTIME_ERROR, subcode, Stage.RUN, text, metrics)


def judge_values(
    task: Task, settings: GeneralSettings, calls: Sequence[Any], got: Sequence[Outcome], want: Sequence[Outcome]
) -> Execution:
    """Compare outcomes call by call; the first that is not as expected decides.

    Args:
        task: gives the entry's name.
        settings: tolerances.
        calls: the tuples of arguments.
        got: the candidate's outcomes.
        want: the reference's.
    """
    wrong = [index for index in range(len(calls)) if not _agrees(got[index], want[index], settings)]
    metrics = {"calls": float(len(calls)), "mismatches": float(len(wrong))}
    if not wrong:
        return Execution(Label.PASS, "", Stage.CHECK, f"all {len(calls)} calls are right\n", metrics)
    first = wrong[0]
    metrics["first_mismatch"] = float(first)
    call = f"call {first}: {show_call(task.entry, calls[first])}"
    found, expected = got[first], want[first]
    if isinstance(found, Raised):
        return _judge_exception(found, call, metrics)
    shown = _described(found)
    text = f"{len(wrong)} of {len(calls)} calls are wrong\n{call}: expected {_described(expected)}, got {shown}\n"
    return Execution(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK, text, metrics)


def judge_check(task: Task, calls: Sequence[Any], got: Sequence[Outcome], answer: dict[str, Any]) -> Execution:
    """The outcome of the HumanEval form: `answer` is what the check said of the candidate's results."""
    metrics = {"calls": float(len(calls))}
    failed = answer["failed"]
    if failed is None and answer["done"] == len(calls):
        return Execution(Label.PASS, "", Stage.CHECK, f"all checks of {len(calls)} calls hold\n", metrics)
    place = "before the first call"
    if failed is None:
        place = f"after call {answer['done']}"
    elif failed >= 0:
        metrics["first_mismatch"] = float(failed)
        place = f"after call {failed}: {show_call(task.entry, calls[failed])} gave {_described(got[failed])}"
    message = without_addresses(answer.get("message", ""))
    text = f"a check fails {place}{': ' + message if message else ''}\n"
    return Execution(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK, text, metrics)


def judge_failed_call(task: Task, calls: Sequence[Any], got: Sequence[Outcome]) -> Execution | None:
    """In the HumanEval form no call may raise: the first that did, or that returned no plain data."""
    metrics = {"calls": float(len(calls))}
    for index, outcome in enumerate(got):
        call = f"call {index}: {show_call(task.entry, calls[index])}"
        if isinstance(outcome, Raised):
            return _judge_exception(outcome, call, {**metrics, "first_mismatch": float(index)})
        if isinstance(outcome, Foreign):
            text = f"{call}: returned {outcome.text}\n"
            metrics["first_mismatch"] = float(index)
            return Execution(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK, text, metrics)
    return None


def show_call(entry: str, arguments: tuple[Any, ...]) -> str:
    """A call as source text."""
    return f"{entry}({', '.join(map(show, arguments))})"


def _agrees(got: Outcome, want: Outcome, settings: GeneralSettings) -> bool:
    if isinstance(got, Returned) and isinstance(want, Returned):
        return is_same(got.value, want.value, settings.relative, settings.absolute)
    return isinstance(got, Raised) and isinstance(want, Raised) and got.name == want.name


def _described(outcome: Outcome) -> str:
    if isinstance(outcome, Returned):
        return show(outcome.value)
    return f"{outcome.name} to be raised" if isinstance(outcome, Raised) else outcome.text
