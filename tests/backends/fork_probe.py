"""Entries of the fork servers under test: they run whatever a test sends, as a backend runs a candidate."""

from __future__ import annotations

from typing import Any

TRACES: list[str] = []


def run(arguments: Any) -> Any:
    """Execute the text; an exit code may be left in `code`."""
    scope = {"traces": TRACES, "code": None}
    exec(arguments, scope)
    return scope["code"]
