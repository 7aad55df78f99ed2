"""VerilogEval v1 (https://github.com/NVlabs/verilog-eval, release 1, MIT), also as RTLFixer keeps it.

A task is a JSON line with `task_id`, `prompt` (the module's header), `canonical_solution` (the rest) and `test` (module
`tb`, which compares the candidate `top_module` with `reference_module`). The words that say what is asked stand in a
second file of lines with `task_id` and `detail_description`; RTLFixer has them in the same line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ecot.errors import DataError
from ecot.outcomes import Domain
from ecot.tasks.importers.source import ImportedTask, read_text
from ecot.tasks.importers.verilog_eval import RUN_SECONDS, public_testbench

ENTRY = "top_module"

_KEYS = ("prompt", "canonical_solution", "test")


def read(source: Path) -> Iterator[ImportedTask]:
    """The tasks of the JSONL files in a folder and below.

    Raises:
        DataError: a line is no JSON object, or a task has no description.
    """
    descriptions: dict[str, str] = {}
    tasks: dict[str, tuple[dict[str, Any], str]] = {}
    for path in sorted(source.rglob("*.jsonl")):
        for number, line in enumerate(read_text(path).splitlines(), 1):
            place = f"{path}:{number}"
            row = _row(line, place)
            if "detail_description" in row:
                descriptions[row["task_id"]] = row["detail_description"]
            if all(key in row for key in _KEYS):
                tasks[row["task_id"]] = (row, place)
    for name, (row, place) in sorted(tasks.items()):
        if name not in descriptions:
            raise DataError(f"{place}: task {name} has no 'detail_description' in any file below {source}")
        yield ImportedTask(
            name=name,
            title=name.replace("_", " "),
            domain=Domain.CHIP_DESIGN,
            language="systemverilog",
            entry=ENTRY,
            spec=f"{descriptions[name].strip()}\n\nThe module begins:\n\n{row['prompt']}",
            reference=("reference.sv", row["prompt"] + row["canonical_solution"]),
            hidden={"testbench.sv": public_testbench(row["test"], Path(place))},
            tags=("verilog_eval_v1",),
            settings={"run_seconds": RUN_SECONDS},
        )


def _row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("task_id"), str):
        raise DataError(f"{place}: must be a JSON object with a 'task_id'")
    return row
