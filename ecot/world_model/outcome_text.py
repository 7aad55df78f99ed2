"""What the world model writes: the observation that the code model is shown, with the measurements in it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ecot.outcomes import SUBCODES, Execution, Label, Stage
from ecot.synthesis.observation import observation_text

_HEADER = re.compile(r"outcome: (?P<label>[A-Z_]+)(?: \((?P<subcode>[a-z_]+)\))?\nstage: (?P<stage>[a-z]+)")
_METRICS = "metrics: "
_SILENT = "The tool printed nothing."
_MORE = re.compile(r"\.\.\. \d+ more lines")


@dataclass(frozen=True, order=True)
class Verdict:
    """The part of an outcome that a world model chooses from a list."""

    label: Label
    subcode: str
    stage: Stage

    @property
    def header(self) -> str:
        """The first two lines of the text, without the end of the second."""
        subcode = f" ({self.subcode})" if self.subcode else ""
        return f"outcome: {self.label}{subcode}\nstage: {self.stage}"


@dataclass(frozen=True)
class Outcome:
    """A text read back."""

    verdict: Verdict
    diagnostics: str
    metrics: Mapping[str, float]


def write_outcome(execution: Execution) -> str:
    """The text of an outcome.

        outcome: FUNCTIONAL_MISMATCH
        stage: check
        metrics: mismatches=3 samples=100
        y differs at time 40: expected 3, got 2

    Metrics stand in the order of their names with 6 significant digits; what is no number is left out.
    """
    head, stage, *rest = observation_text(execution).split("\n")
    numbers = {name: value for name, value in sorted(execution.metrics.items()) if math.isfinite(value)}
    metrics = [_METRICS + " ".join(f"{name}={value:.6g}" for name, value in numbers.items())] if numbers else []
    return "\n".join([head, stage, *metrics, *rest])


def read_outcome(text: str) -> Outcome | None:
    """The outcome that a text tells; None if its first two lines are not of our form or not in the taxonomy."""
    match = _HEADER.match(text)
    if match is None or match["label"] not in set(Label) or match["stage"] not in set(Stage):
        return None
    label, subcode = Label(match["label"]), match["subcode"] or ""
    if subcode and subcode not in SUBCODES[label]:
        return None
    lines = text[match.end() :].strip("\n").split("\n")
    metrics = _numbers(lines.pop(0).removeprefix(_METRICS)) if lines[0].startswith(_METRICS) else {}
    if lines and _MORE.fullmatch(lines[-1]):
        lines.pop()
    said = "\n".join(lines)
    diagnostics = "" if said in ("", _SILENT) else said + "\n"
    return Outcome(Verdict(label, subcode, Stage(match["stage"])), diagnostics, metrics)


def _numbers(text: str) -> dict[str, float]:
    """`name=value` pairs; what is none is passed over, since a model wrote it."""
    found = {}
    for word in text.split():
        name, _, value = word.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            continue
    return {name: value for name, value in found.items() if math.isfinite(value)}
