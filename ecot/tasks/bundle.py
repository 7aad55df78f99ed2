"""A task bundle: what is asked, the environment it runs in, a reference that passes, and the hidden tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ecot.outcomes import Domain, Label


@dataclass(frozen=True)
class WrongCandidate:
    """A candidate that must fail, and how: it keeps the tests of a task honest."""

    name: str
    code: str
    label: Label
    subcode: str = ""


@dataclass(frozen=True)
class Task:
    """One task with its execution environment."""

    id: str
    """Unique within a registry, `[a-z0-9_]+`."""
    domain: Domain
    title: str
    """A few words for tables."""
    spec: str
    """What is asked, in prose, complete: names, widths, latencies, corner cases."""
    language: str
    """Language of the code answer as a Markdown fence names it (`systemverilog`, `c` ...)."""
    reference: str
    """A solution that passes. Never shown to a model."""
    entry: str
    """The unit that the harness calls: a module, function or script name."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """File name to text: what the candidate is built with and may see (headers, linker scripts, constraints)."""
    hidden: Mapping[str, str] = field(default_factory=dict)
    """File name to text: testbenches and checkers. Never shown to a model."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the backend needs besides (time limits, number of samples ...)."""
    tags: tuple[str, ...] = ()
    """For the prompt router and for reports (`fsm`, `arithmetic`, `clock_domain` ...)."""
    difficulty: str = "easy"
    """`easy`, `medium` or `hard`."""
    wrong: tuple[WrongCandidate, ...] = ()

    @property
    def hash(self) -> str:
        """SHA-256 over everything that can change an outcome: specification, environment, reference, hidden tests."""
        parts = [
            self.id,
            self.domain,
            self.spec,
            self.language,
            self.reference,
            self.entry,
            dict(self.environment),
            dict(self.hidden),
            dict(self.settings),
        ]
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()
