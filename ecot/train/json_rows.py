"""Files of one JSON object per line that grow as a run goes on and are cut back when it resumes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def read_json_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, none if it is absent; a last line torn by a kill is left out."""
    rows = []
    if path.is_file():
        for line in path.read_text("utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row; numbers that are not finite, which JSON has no word for, become null."""
    with path.open("a", encoding="utf-8") as handle:
        handle.write(_line(row))


def replace_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the file anew, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(map(_line, rows)), "utf-8")
    os.replace(temporary, path)


def _line(row: Mapping[str, Any]) -> str:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return json.dumps(finite, allow_nan=False) + "\n"
