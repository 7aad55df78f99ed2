"""What a tool says about a candidate: the outcome taxonomy and the result of one execution.

The taxonomy is ours. The paper (arXiv 2604.03144, section 2.1) names only four labels: PASS, COMPILATION_ERROR,
MEMORY_FAULT and GEOMETRY_ERROR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ecot.errors import DataError

TAXONOMY_VERSION = "1"
"""Kept in every row; raised whenever a label or subcode changes its meaning."""


class Domain(StrEnum):
    """What a task is about; also the unit in which mixtures and reports are broken down."""

    CHIP_DESIGN = "chip_design"
    GPU_OPTIMIZATION = "gpu_optimization"
    EMBEDDED = "embedded"
    CAD_3D = "cad_3d"
    CODE_OPTIMIZATION = "code_optimization"
    GENERAL = "general"


class Stage(StrEnum):
    """The step of an execution that gave the verdict."""

    PARSE = "parse"
    """Finding the code in a completion, and static checks on it."""
    COMPILE = "compile"
    SYNTHESIS = "synthesis"
    RUN = "run"
    CHECK = "check"
    """Comparison of what the run gave with what the task asks for."""


class Label(StrEnum):
    """The coarse outcome. `SUBCODES` lists what refines each."""

    PASS = "PASS"
    COMPILATION_ERROR = "COMPILATION_ERROR"
    SYNTHESIS_ERROR = "SYNTHESIS_ERROR"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    MEMORY_FAULT = "MEMORY_FAULT"
    GEOMETRY_ERROR = "GEOMETRY_ERROR"
    FUNCTIONAL_MISMATCH = "FUNCTIONAL_MISMATCH"
    NUMERIC_MISMATCH = "NUMERIC_MISMATCH"
    RESOURCE_EXCEEDED = "RESOURCE_EXCEEDED"
    TIMEOUT = "TIMEOUT"
    NOT_IMPROVED = "NOT_IMPROVED"
    PROTOCOL_VIOLATION = "PROTOCOL_VIOLATION"
    FORMAT_ERROR = "FORMAT_ERROR"
    TOOL_ERROR = "TOOL_ERROR"
    """The harness, the reference or the tool is broken. Never training data."""


SUBCODES: Mapping[Label, frozenset[str]] = {
    Label.PASS: frozenset(),
    Label.COMPILATION_ERROR: frozenset({"syntax", "elaboration", "link", "unsupported"}),
    Label.SYNTHESIS_ERROR: frozenset({"latch", "comb_loop"}),
    Label.RUNTIME_ERROR: frozenset({"exception", "undefined_task", "assertion", "abi"}),
    Label.MEMORY_FAULT: frozenset({"segv", "bus", "usage_fault", "stack", "lockup", "out_of_bounds", "out_of_memory"}),
    Label.GEOMETRY_ERROR: frozenset({"kernel_exception", "invalid", "degenerate", "solid_count"}),
    Label.FUNCTIONAL_MISMATCH: frozenset(),
    Label.NUMERIC_MISMATCH: frozenset(),
    Label.RESOURCE_EXCEEDED: frozenset({"flash", "ram", "shared_memory", "registers", "output"}),
    Label.TIMEOUT: frozenset({"compile", "run"}),
    Label.NOT_IMPROVED: frozenset(),
    Label.PROTOCOL_VIOLATION: frozenset({"spoofed_verdict", "early_finish", "copied", "sandbox_denial", "no_kernel"}),
    Label.FORMAT_ERROR: frozenset({"no_code"}),
    Label.TOOL_ERROR: frozenset({"harness", "reference", "missing_tool"}),
}
"""Which subcodes a label may carry; a label may always come without one (the empty string)."""


class Source(StrEnum):
    """Who gave an outcome."""

    REAL = "real"
    ICWM = "icwm"


def check_outcome(label: Label, subcode: str) -> None:
    """Refuse a subcode that does not belong to the label.

    Raises:
        DataError: the subcode is not in the taxonomy.
    """
    if subcode and subcode not in SUBCODES[label]:
        allowed = ", ".join(sorted(SUBCODES[label])) or "none"
        raise DataError(f"subcode {subcode!r} does not belong to {label}; allowed: {allowed}")


@dataclass(frozen=True)
class Execution:
    """The result of running one candidate. Errors of the candidate are results; errors of the tool are exceptions."""

    label: Label
    subcode: str
    """One of `SUBCODES[label]`, or the empty string."""
    stage: Stage
    """The step that gave the verdict."""
    diagnostics: str
    """What the tool said, normalised: no temporary paths, addresses or times. Equal inputs give equal text."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Numbers of the outcome (mismatches, samples, cells ...). Decides no label by itself."""
    seconds: float = 0.0
    """Wall time of the execution; 0 when it came from the cache."""
    fingerprint: str = ""
    """Hash of tool, version, flags and harness: part of every cache key, since labels change with tool versions."""
    source: Source = Source.REAL
    confidence: float = 1.0
    """Probability of the label as its source states it; 1 for a real tool."""

    def __post_init__(self) -> None:
        check_outcome(self.label, self.subcode)

    @property
    def passed(self) -> bool:
        """Whether the candidate met every check of its task."""
        return self.label is Label.PASS
