"""Colours of the report, for light and dark pages. Plots name them; the style sheet gives each name two values.

Text and the colours of lines and bars have a contrast of at least 4.5 and 3 with the page (WCAG 2.2, 1.4.3 and 1.4.11);
a test computes it.
"""

from __future__ import annotations

from typing import NamedTuple

from ecot.outcomes import Label
from ecot.segments import Kind


class Shade(NamedTuple):
    """One colour as `#rrggbb`, for each kind of page."""

    light: str
    dark: str


SURFACES = {
    "page": Shade("#ffffff", "#15171c"),
    "card": Shade("#f5f6f8", "#1e2128"),
    "rule": Shade("#d8dbe1", "#3a3f49"),
}
"""Backgrounds and rules."""

TEXT = {
    "ink": Shade("#1b1d22", "#e9e7e3"),
    "muted": Shade("#565d69", "#a7adb8"),
    "link": Shade("#1d55a5", "#8fb8f6"),
    "warn": Shade("#9a3412", "#f2a27a"),
}

KINDS = {
    Kind.PROMPT: Shade("#5f6672", "#a1a8b4"),
    Kind.THINKING: Shade("#7b3fa6", "#c79bf0"),
    Kind.ANSWER: Shade("#1a62b0", "#7fb4f5"),
    Kind.OBSERVATION: Shade("#97590a", "#e3ad57"),
}

LABELS = {
    Label.PASS: Shade("#197a4b", "#4fc48c"),
    Label.COMPILATION_ERROR: Shade("#c2480f", "#f0925f"),
    Label.SYNTHESIS_ERROR: Shade("#8a6a00", "#d8bb45"),
    Label.RUNTIME_ERROR: Shade("#be185d", "#f283b0"),
    Label.MEMORY_FAULT: Shade("#8f1d4f", "#e06c9f"),
    Label.GEOMETRY_ERROR: Shade("#0f6f86", "#4fc0d6"),
    Label.FUNCTIONAL_MISMATCH: Shade("#2563a8", "#7fb4f5"),
    Label.NUMERIC_MISMATCH: Shade("#0b7c95", "#56c3d9"),
    Label.RESOURCE_EXCEEDED: Shade("#6430c8", "#b094f5"),
    Label.TIMEOUT: Shade("#545c66", "#a2abb6"),
    Label.NOT_IMPROVED: Shade("#64707f", "#94a1b1"),
    Label.PROTOCOL_VIOLATION: Shade("#7a2f92", "#d490e8"),
    Label.FORMAT_ERROR: Shade("#7a6410", "#d3bd5b"),
    Label.TOOL_ERROR: Shade("#1b1d22", "#e9e7e3"),
}


def kind_colour(kind: Kind) -> str:
    """The name of a kind's colour."""
    return f"kind-{kind.name.lower()}"


def label_colour(label: str) -> str:
    """The name of a label's colour."""
    return f"label-{label.lower().replace('_', '-')}"


COLOURS: dict[str, Shade] = {
    **SURFACES,
    **TEXT,
    **{kind_colour(kind): shade for kind, shade in KINDS.items()},
    **{label_colour(label): shade for label, shade in LABELS.items()},
    # Text on a bar: the page's own colour, since bars contrast with it.
    "on-bar": SURFACES["page"],
}
"""Name to shades; `var(--name)` in the page."""
