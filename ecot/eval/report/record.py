"""What a run has left in its folder, read once. What is not there is listed with the command that makes it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecot.data_mix.prepare import HELDOUT, SUMMARY, TRAIN
from ecot.data_mix.store import MANIFEST, DocumentStore
from ecot.eval.results import EvalResult, completions_path, read_results
from ecot.run_paths import RunPaths
from ecot.synthesis.summary import SynthesisSummary
from ecot.train.json_rows import read_json_rows
from ecot.train.milestones import read_milestones
from ecot.trajectories import Trajectory
from ecot.trajectory_io import read_trajectories


@dataclass(frozen=True)
class Missing:
    """Something that the report would show."""

    what: str
    path: str
    command: str
    """What makes it."""


@dataclass(frozen=True)
class RunRecord:
    """A run as it lies on disk."""

    paths: RunPaths
    synthesis: SynthesisSummary | None
    data: dict[str, Any] | None
    """`store/summary.json`: accounts of both stores, budgets and plan."""
    train_store: DocumentStore | None
    metrics: list[dict[str, Any]]
    """Rows of training, in the order of steps."""
    milestones: list[dict[str, Any]]
    exports: list[Path]
    results: list[EvalResult]
    """Evaluations, in the order of training."""
    arguments: str | None
    """Configuration and overrides as `ecot eval` was given them."""
    missing: tuple[Missing, ...]

    def lacks(self, what: str) -> Missing | None:
        """The entry of `missing` with that name."""
        return next((entry for entry in self.missing if entry.what == what), None)

    def completions(self, milestone: str) -> list[Trajectory]:
        """The model's own conversations at a milestone; none when their file is gone."""
        path = completions_path(self.paths, milestone)
        return list(read_trajectories(path)) if path.is_file() else []


def read_record(paths: RunPaths) -> RunRecord:
    """Read everything that is there.

    Raises:
        DataError: a file is there and malformed.
    """
    results = read_results(paths)
    arguments = _arguments(results)
    synthesis = _json(paths.trajectories / "summary.json")
    if synthesis is not None:
        synthesis.pop("identity", None)
    data = _json(paths.store / SUMMARY)
    store = paths.store / TRAIN
    record = RunRecord(
        paths=paths,
        synthesis=SynthesisSummary.from_json(synthesis) if synthesis is not None else None,
        data=data,
        train_store=DocumentStore.open(store) if (store / MANIFEST).is_file() else None,
        metrics=read_json_rows(paths.metrics),
        milestones=read_milestones(paths),
        exports=sorted(path.parent for path in paths.export.glob("*/config.json")),
        results=results,
        arguments=arguments,
        missing=(),
    )
    return RunRecord(**{**vars(record), "missing": _missing(record)})


def _missing(record: RunRecord) -> tuple[Missing, ...]:
    paths, arguments = record.paths, record.arguments or "CONFIG"
    run = shlex.quote(str(paths.root))
    heldout = bool(record.data and record.data[HELDOUT])
    checks = (
        ("synthesis", record.synthesis, paths.trajectories / "summary.json", f"ecot synth {arguments}"),
        ("data", record.data, paths.store / SUMMARY, f"ecot plan {arguments}"),
        ("heldout", heldout, paths.store / HELDOUT, f"ecot plan {arguments}"),
        ("documents", record.train_store, paths.store / TRAIN, f"ecot plan {arguments}"),
        ("metrics", record.metrics, paths.metrics, f"ecot train {arguments}"),
        ("milestones", record.milestones, paths.milestones, f"ecot train {arguments}"),
        ("exports", record.exports, paths.export, f"ecot export {run}"),
        ("results", record.results, paths.eval, f"ecot eval {arguments}"),
    )
    return tuple(Missing(what, str(path), command) for what, found, path, command in checks if not found)


def _arguments(results: list[EvalResult]) -> str | None:
    """`CONFIG [key=value ...]` of the last evaluation."""
    for result in reversed(results):
        words = shlex.split(result.command)
        if words[:2] == ["ecot", "eval"]:
            return shlex.join(words[2:])
    return None


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text("utf-8")) if path.is_file() else None
