"""What an importer finds, and the text surgery that several need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecot.errors import DataError
from ecot.outcomes import Domain

VERDICT = "ecot-verdict %s"
"""How a line of the verdict begins in a testbench; the harness fills in `ECOT_NONCE`."""

_COMMENT_OR_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


@dataclass(frozen=True)
class ImportedTask:
    """A task as found in a public benchmark."""

    name: str
    title: str
    domain: Domain
    language: str
    entry: str
    spec: str
    reference: tuple[str, str]
    """File name and text."""
    hidden: Mapping[str, str]
    tags: tuple[str, ...]
    settings: Mapping[str, Any]
    """What the backend needs besides."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """File name to text: what a candidate is built with and may see."""


def read_text(path: Path) -> str:
    """A file of a benchmark.

    Raises:
        DataError: it is missing or not text.
    """
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error


def without_comments(source: str) -> str:
    """Verilog without comments; strings stay."""
    return _COMMENT_OR_STRING.sub(lambda match: match[0] if match[0].startswith('"') else " ", source)


def rename(source: str, old: str, new: str) -> str:
    """Replace a whole identifier."""
    return re.sub(rf"(?<![\w$]){re.escape(old)}(?![\w$])", new, source)


def modules_in(source: str) -> list[str]:
    """Names of the modules that a source defines, in order."""
    return re.findall(r"^\s*module\s+(\w+)", without_comments(source), re.MULTILINE)


def replace_once(pattern: str, replacement: str, text: str, place: Path, what: str) -> str:
    """Substitute a pattern that must occur exactly once.

    Raises:
        DataError: it does not.
    """
    changed, count = re.subn(pattern, replacement, text, flags=re.DOTALL)
    if count != 1:
        raise DataError(f"{place}: {what} occurs {count} times, not once")
    return changed
