"""From what the sandbox saw to an outcome."""

from __future__ import annotations

import ast
import json
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ecot.backends.gpu_optimization.comparison import Comparison, compare, describe_case
from ecot.backends.gpu_optimization.inside import exchange
from ecot.backends.gpu_optimization.screening import screen
from ecot.backends.gpu_optimization.settings import GpuSettings
from ecot.backends.sandbox import SandboxResult
from ecot.backends.sandbox.fork_command import ForkResult
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage

_STAGE_LINE = re.compile(rb"^ecot-stage (compile|run)$", re.MULTILINE)

_FAULTS = {
    "out_of_bounds": (Label.MEMORY_FAULT, "out_of_bounds", Stage.RUN),
    "out_of_memory": (Label.MEMORY_FAULT, "out_of_memory", Stage.RUN),
    "shared_bytes": (Label.RESOURCE_EXCEEDED, "shared_memory", Stage.COMPILE),
    "registers": (Label.RESOURCE_EXCEEDED, "registers", Stage.COMPILE),
    "local_bytes": (Label.RESOURCE_EXCEEDED, "registers", Stage.COMPILE),
    "compilation": (Label.COMPILATION_ERROR, "elaboration", Stage.COMPILE),
    "assembler": (Label.COMPILATION_ERROR, "elaboration", Stage.COMPILE),
    "unsupported": (Label.COMPILATION_ERROR, "unsupported", Stage.RUN),
    "early_finish": (Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN),
    "torch_operator": (Label.PROTOCOL_VIOLATION, "no_kernel", Stage.RUN),
    "assertion": (Label.RUNTIME_ERROR, "assertion", Stage.RUN),
    "exception": (Label.RUNTIME_ERROR, "exception", Stage.RUN),
    "fault": (Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK),
}
"""What `triton_job` calls it, to what it is."""


@dataclass(frozen=True)
class Trial:
    """The cases of one candidate: what it gets and, kept from it, what is expected."""

    inputs: Sequence[exchange.Case]
    expected: Sequence[exchange.Case]


@dataclass(frozen=True)
class Report:
    """What `triton_job` says about its run; nothing in it can make a wrong output right."""

    case: int = -1
    kind: str = ""
    text: str = ""
    launches: int = 0
    usage: dict[str, float] = field(default_factory=dict)
    kernel_missing: bool = False


def screen_python(code: str, file: str = "candidate.py") -> Execution | None:
    """Refuse what does not parse, and what reaches beyond what a kernel needs."""
    try:
        tree = ast.parse(code.encode("utf-8", "replace"), file)
    except SyntaxError as error:
        shown = f"\n    {error.text.strip()}" if error.text else ""
        text = f"{file}:{error.lineno or 0}: {type(error).__name__}: {error.msg}{shown}\n"
        return Execution(Label.COMPILATION_ERROR, "syntax", Stage.PARSE, text)
    except (RecursionError, MemoryError):
        text = f"{file}: error: nested too deeply to be parsed\n"
        return Execution(Label.COMPILATION_ERROR, "syntax", Stage.PARSE, text)
    denial = screen(tree)
    if denial is None:
        return None
    text = f"{file}:{denial.line}: {denial.message}\n"
    if denial.missing_module:
        return Execution(Label.RUNTIME_ERROR, "exception", Stage.RUN, text)
    return Execution(Label.PROTOCOL_VIOLATION, "sandbox_denial", Stage.PARSE, text)


def judge_triton(result: ForkResult, trial: Trial, settings: GpuSettings) -> Execution:
    """The outcome of a Triton candidate's run.

    Raises:
        ToolError: it ended for a reason that is not the candidate's.
    """
    ended = judge_end(result)
    if ended is not None:
        return ended
    try:
        report = _read_report(result.outputs["report.json"])
        outputs = exchange.unpack(result.outputs["outputs.bin"])
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        # The job itself writes both, whatever the candidate raises.
        text = "the candidate ended the program before all cases were run\n"
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text)
    metrics = {"cases": float(len(trial.inputs)), "launches": float(report.launches), **report.usage}
    if report.kind:
        return _fault(report, metrics)
    if len(outputs) != len(trial.inputs):
        text = f"only {len(outputs)} of {len(trial.inputs)} cases were run\n"
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text, metrics)
    places = [describe_case(index, case) for index, case in enumerate(trial.inputs)]
    compared = compare(places, trial.expected, outputs, settings.rtol, settings.atol)
    if not compared.text and report.kernel_missing:
        if settings.torch_ops == "any":
            text = "all outputs are right, but no kernel was launched: the work is PyTorch's\n"
            return Execution(Label.NOT_IMPROVED, "", Stage.CHECK, text, metrics)
        text = "the outputs are right, but lie in memory that no kernel has written\n"
        return Execution(Label.PROTOCOL_VIOLATION, "no_kernel", Stage.CHECK, text, metrics)
    return verdict(compared, len(trial.inputs), metrics)


def verdict(compared: Comparison, cases: int, metrics: dict[str, float]) -> Execution:
    """The outcome of a run whose outputs were compared."""
    metrics = {**metrics, "elements": float(compared.elements), "mismatches": float(compared.mismatches)}
    if not compared.text:
        text = f"all {cases} cases match ({compared.elements} elements)\n"
        return Execution(Label.PASS, "", Stage.CHECK, text, metrics)
    label = Label.NUMERIC_MISMATCH if compared.numeric else Label.FUNCTIONAL_MISMATCH
    return Execution(label, "", Stage.CHECK, compared.text, metrics)


def judge_end(result: SandboxResult, stage: str = "") -> Execution | None:
    """The outcome of a run that did not end by itself, or not well; None if it did.

    Raises:
        ToolError: the end says nothing about the candidate; another try may.
    """
    stages = _STAGE_LINE.findall(result.stdout)
    stage = stage or (stages[-1].decode() if stages else "run")
    if result.output_truncated:
        return Execution(Label.RESOURCE_EXCEEDED, "output", Stage.RUN, "the candidate was stopped: output flood\n")
    if isinstance(result, ForkResult) and result.server_lost:
        text = "the candidate ended a process that is not its own\n"
        return Execution(Label.PROTOCOL_VIOLATION, "sandbox_denial", Stage.RUN, text)
    if result.cpu_exhausted or (isinstance(result, ForkResult) and result.idle):
        where = Stage.COMPILE if stage == "compile" else Stage.RUN
        return Execution(Label.TIMEOUT, stage, where, f"the candidate was stopped: out of time ({stage})\n")
    if result.deadline_passed:
        raise ToolError(
            f"a candidate was stopped after {result.seconds:.0f} s of real time with processor time left: "
            "the machine is overloaded; run fewer workers"
        )
    if result.memory_exhausted or b"bad_alloc" in result.stderr or b"out of memory" in result.stderr:
        return Execution(Label.MEMORY_FAULT, "out_of_memory", Stage.RUN, "the candidate was stopped: out of memory\n")
    if result.signal == signal.SIGKILL:
        raise ToolError("a candidate was killed from outside: is the machine out of memory?")
    if result.signal == signal.SIGSEGV:
        return Execution(Label.MEMORY_FAULT, "segv", Stage.RUN, "segmentation fault\n")
    if result.signal is not None:
        return Execution(Label.RUNTIME_ERROR, "", Stage.RUN, f"the candidate died of signal {result.signal}\n")
    return None


def _read_report(block: bytes) -> Report:
    values: dict[str, Any] = json.loads(block)
    usage = {str(name): float(value) for name, value in dict(values.get("usage", {})).items()}
    return Report(
        case=int(values["case"]),
        kind=str(values["kind"]),
        text=str(values["text"]),
        launches=int(values.get("launches", 0)),
        usage=usage,
        kernel_missing="kernel_missing" in values,
    )


def _fault(report: Report, metrics: dict[str, float]) -> Execution:
    label, subcode, stage = _FAULTS.get(report.kind, _FAULTS["exception"])
    text = report.text
    if "ptxas" in text and "error code -24" in text:
        label, subcode, stage, text = Label.TIMEOUT, "compile", Stage.COMPILE, "the assembler was stopped: out of time"
    place = f"in case {report.case}: " if report.case >= 0 and stage is not Stage.COMPILE else ""
    return Execution(label, subcode, stage, f"{place}{text}\n", metrics)
