"""HumanEval (https://github.com/openai/human-eval, MIT).

JSON Lines, one task a line: `task_id`, `prompt` (imports, helpers, and the signature with its docstring),
`entry_point`, `canonical_solution` (the body) and `test` (a function `check(candidate)` that asserts). The repository
packs the file with gzip, `HumanEval.jsonl.gz`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ecot.errors import DataError
from ecot.outcomes import Domain
from ecot.tasks.importers.source import ImportedTask

_KEYS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")

_TASK = """Complete the function `{entry}`. The answer is the whole module: imports, helpers and the function itself.

```python
{prompt}
```
"""


def read(source: Path) -> Iterator[ImportedTask]:
    """The tasks of all `*.jsonl` and `*.jsonl.gz` files below a folder.

    Raises:
        DataError: a line is not JSON, or lacks a key; the message names file and line.
    """
    for path in sorted([*source.rglob("*.jsonl"), *source.rglob("*.jsonl.gz")]):
        for number, line in enumerate(_lines(path), 1):
            if line.strip():
                yield _task(_row(line, f"{path}:{number}"))


def _lines(path: Path) -> list[str]:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return raw.decode("utf-8").splitlines()
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: not a gzip file: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error


def _row(line: str, place: str) -> dict[str, str]:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error}") from error
    missing = [key for key in _KEYS if not isinstance(row, dict) or not isinstance(row.get(key), str)]
    if missing:
        raise DataError(f"{place}: key {missing[0]!r} is missing or no text; wanted are {', '.join(_KEYS)}")
    return {key: row[key] for key in _KEYS}


def _task(row: dict[str, str]) -> ImportedTask:
    entry = row["entry_point"]
    name = row["task_id"].replace("/", "_")
    return ImportedTask(
        # Ids sort as their numbers do.
        name=re.sub(r"\d+$", lambda match: match[0].zfill(3), name),
        title=entry.replace("_", " "),
        domain=Domain.GENERAL,
        language="python",
        entry=entry,
        spec=_TASK.format(entry=entry, prompt=row["prompt"].strip("\n")),
        reference=("reference.py", row["prompt"] + row["canonical_solution"]),
        hidden={"check.py": row["test"]},
        tags=("human_eval",),
        settings={},
    )
