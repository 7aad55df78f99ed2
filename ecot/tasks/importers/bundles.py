"""From a format's name to written bundles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ecot.errors import ConfigError, DataError
from ecot.tasks.importers import (
    human_eval,
    kernelbench,
    realbench,
    rtllm,
    tritonbench,
    verilog_eval,
    verilog_eval_v1,
)
from ecot.tasks.importers.source import ImportedTask
from ecot.tasks.registry import MANIFEST, load_bundle


@dataclass(frozen=True)
class ImportFormat:
    """A public layout."""

    name: str
    reads: str
    """What the folder must hold, for messages and help."""
    read: Callable[[Path], Iterator[ImportedTask]]


FORMATS: Mapping[str, ImportFormat] = {
    format.name: format
    for format in (
        ImportFormat(
            "human_eval",
            "HumanEval: JSONL files with prompt, entry_point, canonical_solution and test",
            human_eval.read,
        ),
        ImportFormat(
            "kernelbench", "KernelBench with sizes for a CPU: level1/1_Name.py with class Model", kernelbench.read
        ),
        ImportFormat("kernelbench_full", "KernelBench with its own sizes", kernelbench.read_full),
        ImportFormat(
            "realbench",
            "RealBench, decrypted: system/module/module.md and system/module/verification/module_{ref,stimulus_gen,"
            "testbench,top}.sv",
            realbench.read,
        ),
        ImportFormat("rtllm", "RTLLM 2.0: folders with design_description.txt, testbench.v, verified_*.v", rtllm.read),
        ImportFormat(
            "tritonbench", "TritonBench-T: TritonBench_T_v1/name.py and TritonBench_T_v1.jsonl", tritonbench.read
        ),
        ImportFormat(
            "verilog_eval", "VerilogEval v2: ProbNNN_name_prompt.txt, _ref.sv and _test.sv", verilog_eval.read
        ),
        ImportFormat(
            "verilog_eval_v1",
            "VerilogEval v1 or RTLFixer: JSONL files with prompt, canonical_solution, test and detail_description",
            verilog_eval_v1.read,
        ),
    )
}


def import_tasks(format: str, source: Path, out: Path) -> list[str]:
    """Write a bundle per task of a public benchmark.

    Args:
        format: one of `FORMATS`.
        source: the folder in the benchmark's own layout.
        out: where the bundles go; bundles of the same name are overwritten.

    Returns:
        The ids, in order.

    Raises:
        ConfigError: the format is unknown or the folder is missing.
        DataError: the folder does not hold what the format reads; the message names the file.
    """
    if format not in FORMATS:
        raise ConfigError(f"import format {format!r} is unknown; known: {', '.join(FORMATS)}")
    if not source.is_dir():
        raise ConfigError(f"{source}: no such folder")
    ids = []
    for task in FORMATS[format].read(source):
        folder = out / task_id(task.name)
        if folder.name in ids:
            raise DataError(f"{source}: two tasks are called {folder.name!r}")
        _write(folder, task)
        load_bundle(folder)
        ids.append(folder.name)
    if not ids:
        raise DataError(f"{source}: holds nothing in the layout of {FORMATS[format].reads}")
    return ids


def task_id(name: str) -> str:
    """A benchmark's name as an id."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _write(folder: Path, task: ImportedTask) -> None:
    manifest: dict[str, Any] = {
        "title": task.title,
        "domain": str(task.domain),
        "language": task.language,
        "entry": task.entry,
        "difficulty": "medium",
        "tags": list(task.tags),
        "spec": task.spec,
        "reference": task.reference[0],
        "hidden": list(task.hidden),
        "settings": dict(task.settings),
    }
    if task.environment:
        manifest["environment"] = list(task.environment)
    files = {task.reference[0]: task.reference[1], **task.hidden, **task.environment}
    if len(files) != 1 + len(task.hidden) + len(task.environment):
        raise DataError(f"task {task.name}: two of its files have one name: {', '.join(sorted(files))}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=110)
    (folder / MANIFEST).write_text(text, "utf-8")
