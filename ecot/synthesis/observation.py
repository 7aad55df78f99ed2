"""What the model is told about an attempt: one stable, plain format for every backend."""

from __future__ import annotations

from ecot.outcomes import Execution, Label

MAX_LINES = 12
"""Lines of diagnostics shown; one slip can make a compiler complain forty times, and the first messages matter."""


def observation_text(execution: Execution) -> str:
    """The outcome, the stage that gave it, and what the tool said.

        outcome: COMPILATION_ERROR (syntax)
        stage: compile
        design.sv:12: syntax error

    Diagnostics come from the backend already normalised, so equal outcomes give equal text.
    """
    outcome = str(execution.label)
    if execution.subcode:
        outcome += f" ({execution.subcode})"
    lines = [f"outcome: {outcome}", f"stage: {execution.stage}"]
    diagnostics = execution.diagnostics.strip().split("\n") if execution.diagnostics.strip() else []
    if len(diagnostics) > MAX_LINES:
        diagnostics = [*diagnostics[:MAX_LINES], f"... {len(diagnostics) - MAX_LINES} more lines"]
    if diagnostics:
        lines += diagnostics
    elif execution.label is not Label.PASS:
        lines.append("The tool printed nothing.")
    return "\n".join(lines)
