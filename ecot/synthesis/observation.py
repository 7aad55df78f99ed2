"""What the model is told about an attempt: one stable, plain format for every backend."""

from __future__ import annotations

from ecot.outcomes import Execution, Label


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
    diagnostics = execution.diagnostics.strip()
    if diagnostics:
        lines.append(diagnostics)
    elif execution.label is not Label.PASS:
        lines.append("The tool printed nothing.")
    return "\n".join(lines)
