"""Answers known from elsewhere (published check values, hand calculation) that the reference itself must give."""

from __future__ import annotations

import re

from ecot.backends.embedded.frames import Report
from ecot.errors import DataError, ToolError
from ecot.tasks.bundle import Task

KNOWN_FILE = "known.txt"
"""A hidden file; each line is `CASE OUTPUT = VALUE`. Lines of one case and output stand for successive samples."""

_LINE = re.compile(r"(\w+) (\w+) = (\S.*)")


def check_known_answers(task: Task, report: Report) -> None:
    """Hold the reference's report against the task's known answers: otherwise a wrong reference would be the truth.

    Raises:
        DataError: a line is malformed.
        ToolError: the reference gives another answer, or none.
    """
    given: dict[tuple[str, str], list[str]] = {}
    for case in report.cases:
        for entry in case.entries:
            given.setdefault((case.name, entry.name), []).append(entry.value)
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(task.hidden.get(KNOWN_FILE, "").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise DataError(f"task {task.id}: {KNOWN_FILE}:{number}: {line!r} is not of the form 'CASE OUTPUT = VALUE'")
        key = (match[1], match[2])
        index = seen[key] = seen.get(key, -1) + 1
        values = given.get(key, [])
        got = values[index] if index < len(values) else "nothing"
        if got != match[3]:
            raise ToolError(
                f"task {task.id}: {KNOWN_FILE}:{number}: the reference gives {got} for output {match[2]!r} of "
                f"sample {index + 1} of case {match[1]!r}; {match[3]} is right"
            )
