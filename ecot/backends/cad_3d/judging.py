"""From what the fork server saw to an outcome."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Mapping
from typing import Any

from ecot.backends.cad_3d.describing import describe_difference, length, show_ratio, show_volume
from ecot.backends.cad_3d.exchange import DISK_FULL, REPORT, SCRIPT, SOLID
from ecot.backends.cad_3d.settings import CadSettings
from ecot.backends.sandbox.fork_command import ForkResult
from ecot.errors import ToolError
from ecot.outcomes import Execution, Label, Stage

_EPSILON_MM3 = 1e-6
_MOST_TEXT = 400


def refuse_broken(result: ForkResult, what: str) -> None:
    """Refuse to judge by what the machine did.

    Raises:
        ToolError: the wall deadline passed while the process was at work.
    """
    if result.deadline_passed and not result.idle:
        raise ToolError(f"{what} got too little processor time before its deadline: the machine is overloaded")


def judge_script(result: ForkResult) -> Execution | bytes:
    """The outcome of a script that failed, or the solid that it left.

    Raises:
        ToolError: it ended for a reason that is not the candidate's.
    """
    refuse_broken(result, "the script")
    if result.server_lost:
        text = "the script killed or stopped processes that are not its own\n"
        return Execution(Label.PROTOCOL_VIOLATION, "sandbox_denial", Stage.RUN, text)
    if result.output_truncated:
        text = "the script was stopped: it printed or wrote too much\n"
        return Execution(Label.RESOURCE_EXCEEDED, "output", Stage.RUN, text)
    if result.exit_code == DISK_FULL:
        text = "the script filled the file system that it may write to\n"
        return Execution(Label.RESOURCE_EXCEEDED, "output", Stage.RUN, text)
    if result.timed_out:
        return Execution(Label.TIMEOUT, "run", Stage.RUN, "the script was stopped: out of time\n")
    if result.memory_exhausted:
        return _out_of_memory()
    if result.signal is not None:
        if result.signal in (signal.SIGSEGV, signal.SIGBUS):
            return Execution(Label.MEMORY_FAULT, "segv", Stage.RUN, "the script crashed: segmentation fault\n")
        name = signal.Signals(result.signal).name
        return Execution(Label.RUNTIME_ERROR, "", Stage.RUN, f"the script was ended by {name}\n")
    report = _report(result.outputs.get(REPORT, b""))
    if report is not None and isinstance(report.get("failure"), dict):
        return _judge_failure(report["failure"])
    if report is not None and SOLID in result.outputs:
        return result.outputs[SOLID]
    if result.exit_code == 0:
        text = "the script ended its process before its solid could be taken\n"
        return Execution(Label.PROTOCOL_VIOLATION, "early_finish", Stage.RUN, text)
    if b"MemoryError" in result.stderr:
        return _out_of_memory()
    text = f"the script ended its process with exit code {result.exit_code}\n"
    return Execution(Label.RUNTIME_ERROR, "", Stage.RUN, text)


def _report(content: bytes) -> dict[str, Any] | None:
    """What the script's process reports; None if that is not of the form that we write."""
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) and "notes" in report else None


def _out_of_memory() -> Execution:
    return Execution(Label.MEMORY_FAULT, "out_of_memory", Stage.RUN, "the script was stopped: out of memory\n")


_FAILURES = {
    "syntax": (Label.COMPILATION_ERROR, "syntax", Stage.COMPILE),
    "kernel": (Label.GEOMETRY_ERROR, "kernel_exception", Stage.RUN),
    "assertion": (Label.RUNTIME_ERROR, "assertion", Stage.RUN),
    "no_solid": (Label.GEOMETRY_ERROR, "solid_count", Stage.RUN),
}


def _judge_failure(failure: Mapping[str, Any]) -> Execution:
    kind = failure.get("kind")
    if kind == "memory":
        return _out_of_memory()
    label, subcode, stage = _FAILURES.get(str(kind), (Label.RUNTIME_ERROR, "exception", Stage.RUN))
    line = failure.get("line")
    place = f"{SCRIPT}:{line}" if isinstance(line, int) else SCRIPT
    told = ": ".join(str(part)[:_MOST_TEXT] for part in (failure.get("type"), failure.get("message")) if part)
    source = f"    {str(failure['text'])[:_MOST_TEXT]}\n" if failure.get("text") else ""
    return Execution(label, subcode, stage, f"{place}: {told}\n{source}")


def judge_facts(facts: Mapping[str, Any], settings: CadSettings) -> Execution | None:
    """The outcome of a solid that is broken in itself; None for one that can be compared."""
    found = facts["candidate"]
    metrics = solid_metrics(found)
    wanted = settings.solids or facts["reference"]["solids"]

    def geometry_error(subcode: str, text: str) -> Execution:
        return Execution(Label.GEOMETRY_ERROR, subcode, Stage.CHECK, text + "\n", metrics)

    if not found["solids"]:
        return geometry_error("solid_count", "there is no solid")
    if not found["valid"] or not found["closed"]:
        return geometry_error("invalid", "the solid is invalid: its faces intersect, or do not close a volume")
    if found["volume"] < -_EPSILON_MM3:
        return geometry_error("invalid", "the solid is inside out: its volume is negative")
    if not found["volume"] > _EPSILON_MM3:  # also if it is no number
        return geometry_error("degenerate", "the solid has no volume")
    if found["solids"] != wanted:
        text = f"there are {_count(found['solids'])}, expected {_count(wanted)}"
        return geometry_error("solid_count", text)
    if found["smallest_edge"] is not None and found["smallest_edge"] < settings.smallest_edge_mm:
        text = f"the solid has an edge shorter than {settings.smallest_edge_mm:g} mm"
        return geometry_error("degenerate", text)
    return None


def _count(solids: int) -> str:
    return f"{solids} separate solid{'s' * (solids != 1)}"


def judge_comparison(
    facts: Mapping[str, Any], comparison: Mapping[str, Any], needed: float, notes: list[str]
) -> Execution:
    """The outcome of a sound solid.

    Args:
        facts: of candidate and reference.
        comparison: how far they overlap.
        needed: the intersection over union that passes.
        notes: lines to add to the explanation of a mismatch.
    """
    metrics = {**solid_metrics(facts["candidate"]), "iou": _rounded(comparison["iou"])}
    if comparison["iou"] >= needed:
        volume = show_volume(facts["candidate"]["volume"])
        text = f"the solid is the one asked for: overlap {show_ratio(comparison['iou'])}, volume {volume}\n"
        return Execution(Label.PASS, "", Stage.CHECK, text, metrics)
    text = describe_difference(facts, comparison, needed) + "".join(f"  {note}\n" for note in notes)
    return Execution(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK, text, metrics)


def read_notes(content: bytes) -> list[str]:
    """Operations that the script's own process saw to be without effect: hints that decide nothing."""
    report = _report(content)
    lines = []
    for note in report["notes"] if report is not None and isinstance(report["notes"], list) else []:
        if isinstance(note, dict) and note.get("operation") in _WORDS and isinstance(note.get("line"), int):
            lines.append(f"note: line {note['line']}: {_WORDS[note['operation']]} left the body as it was")
    return lines[:_MOST_NOTES]


_MOST_NOTES = 5
_WORDS = {
    **{name: f"{name}()" for name in ("cut", "cutBlind", "cutThruAll", "hole", "cboreHole", "cskHole", "intersect")},
    **{name: f"{name}()" for name in ("fillet", "chamfer")},
    "shell": "shell(), perhaps with a wall too thick for the body,",
}


def solid_metrics(found: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a solid, rounded below the kernel's noise."""
    metrics = {key: float(found[key]) for key in ("solids", "faces", "edges")}
    metrics["volume_mm3"] = _rounded(found["volume"])
    metrics["area_mm2"] = _rounded(found["area"])
    if found["smallest_edge"] is not None:
        metrics["smallest_edge_mm"] = float(length(found["smallest_edge"]))
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _rounded(value: float) -> float:
    return 0.0 if abs(value) < _EPSILON_MM3 else float(f"{value:.5g}")
