"""Execute some of the predicted outcomes for real: how accurate they were, what to unlearn, which trajectories hold."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ecot.backends.protocol import Backend
from ecot.errors import ConfigError
from ecot.outcomes import Domain, Execution, Label, Source, Stage
from ecot.progress import Progress, no_progress
from ecot.synthesis.loop import attempt_of
from ecot.synthesis.slots import derive_seed
from ecot.tasks.bundle import Task
from ecot.trajectories import Attempt, Trajectory
from ecot.trajectory_io import read_trajectories, write_trajectories
from ecot.world_model.audit_accuracy import AuditArm, Audited, estimate_accuracy
from ecot.world_model.config import AuditConfig
from ecot.world_model.drift import DriftTest
from ecot.world_model.environment import Question
from ecot.world_model.pairs import Turn

JOURNAL = "audit.jsonl"
"""Every audited turn, as it comes: an audit that was cut off goes on."""
_BATCH = 32


class Standing(StrEnum):
    """What an audit says of a trajectory."""

    VERIFIED = "verified"
    """Its verdict was given or confirmed by the tool, and no audited attempt of it was predicted wrongly."""
    REFUTED = "refuted"
    """The tool contradicts one of its predictions."""
    UNVERIFIED = "unverified"
    """Its verdict is a prediction that nobody looked at."""


@dataclass(frozen=True)
class Chosen:
    """A predicted turn that is to be executed."""

    key: str
    task: Task
    attempt: Attempt
    arm: AuditArm
    inclusion: float


@dataclass(frozen=True)
class AuditResult:
    """What `ecot icwm audit` found."""

    predicted: int
    """Distinct predicted turns in the trajectories."""
    audited: int
    broken: int
    """Turns that were to be audited and whose tool failed; they count for nothing and are tried again next time."""
    corrected: int
    """Of them those whose label was wrong."""
    standings: Mapping[Standing, int]
    """Trajectories."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Accuracy and drift; empty where nothing was predicted."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "standings": dict(self.standings), "figures": dict(self.figures)}


async def audit(
    files: Sequence[Path],
    tasks: Mapping[str, Task],
    backend: Backend,
    config: AuditConfig,
    baselines: Mapping[Domain, float],
    question: Question,
    seed: int,
    folder: Path,
    progress: Progress = no_progress,
) -> AuditResult:
    """Audit the predictions in some files of trajectories.

    Writes into `folder`: the journal; `corrections.parquet`, real turns to add to `world_model.trajectories`; and the
    trajectories as `verified.parquet`, `refuted.parquet` and `unverified.parquet`.

    Args:
        files: of trajectories; those without a predicted attempt count as verified.
        tasks: theirs, by id.
        backend: real tools.
        config: which turns are executed.
        baselines: accuracy that the test of drift holds each domain against; none is made without it.
        question: how corrections are told.
        seed: of the random arm.
        folder: where results go.
        progress: told how many turns are executed.

    Raises:
        ConfigError: a task is not there, or has changed.
        ToolError: a tool is broken; what was audited stays in the journal.
    """
    rows = [row for file in files for row in read_trajectories(file)]
    turns = _predicted_turns(rows, tasks)
    chosen = choose_turns(turns, config, seed)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    real = await _execute(chosen, backend, journal, progress)
    audited = [(turn, real[turn.key]) for turn in chosen if turn.key in real]
    corrections = [Turn(turn.task, found) for turn, found in audited]
    write_trajectories(folder / "corrections.parquet", (turn.to_row(question) for turn in corrections))
    labels = {turn.key: found.label for turn, found in audited}
    standings = [(row, _standing(row, labels)) for row in rows]
    for standing in Standing:
        path = folder / f"{standing}.parquet"
        write_trajectories(path, (row for row, own in standings if own is standing))
    return AuditResult(
        predicted=len(turns),
        audited=len(audited),
        broken=len(chosen) - len(audited),
        corrected=sum(turn.attempt.label is not found.label for turn, found in audited),
        standings={standing: sum(own is standing for _, own in standings) for standing in Standing},
        figures=_figures(audited, baselines),
    )


def choose_turns(turns: Mapping[str, tuple[Task, Attempt]], config: AuditConfig, seed: int) -> list[Chosen]:
    """The turns to execute, in the order given.

    The random arm is drawn over all of them, each by its own key, so that a turn's fate does not hang on the others.
    """
    count = math.ceil(config.low_confidence_share * len(turns))
    doubtful = set(sorted(turns, key=lambda key: (turns[key][1].confidence, key))[:count])
    chosen = []
    for key, (task, attempt) in turns.items():
        ends = config.every_pass and attempt.label is Label.PASS
        always = ends or key in doubtful
        if derive_seed("audit", seed, key) / 2**63 < config.random_share:
            arm = AuditArm.RANDOM
        elif always:
            arm = AuditArm.PASS if ends else AuditArm.LOW_CONFIDENCE
        else:
            continue
        chosen.append(Chosen(key, task, attempt, arm, 1.0 if always else config.random_share))
    return chosen


def _predicted_turns(rows: Iterable[Trajectory], tasks: Mapping[str, Task]) -> dict[str, tuple[Task, Attempt]]:
    found: dict[str, tuple[Task, Attempt]] = {}
    for row in rows:
        for attempt in row.attempts:
            if attempt.source is not Source.ICWM:
                continue
            task = tasks.get(row.task_id)
            if task is None or task.hash != row.task_hash:
                raise ConfigError(
                    f"trajectory {row.id}: task {row.task_id!r} is not in world_model.tasks, or has changed since; "
                    "give the tasks that it was written with"
                )
            found.setdefault(_key(row, attempt), (task, attempt))
    return found


def _key(row: Trajectory, attempt: Attempt) -> str:
    """The same for equal candidates of a task under one world model."""
    parts = (row.task_hash, attempt.code, attempt.fingerprint)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


async def _execute(chosen: Sequence[Chosen], backend: Backend, journal: Path, progress: Progress) -> dict[str, Attempt]:
    """Key to the real outcome, from the journal or executed now."""
    done = _read_journal(journal, backend.fingerprint)
    real = {turn.key: _outcome(turn, done[turn.key]) for turn in chosen if turn.key in done}
    open_turns = [turn for turn in chosen if turn.key not in done]
    with journal.open("a", encoding="utf-8") as file:
        for begin in range(0, len(open_turns), _BATCH):
            progress(len(real), len(chosen), "audit")
            batch = open_turns[begin : begin + _BATCH]
            executions = await backend.execute_many([(turn.task, turn.attempt.code) for turn in batch])
            for turn, execution in zip(batch, executions, strict=True):
                if execution.label is Label.TOOL_ERROR:
                    continue
                row = {
                    "key": turn.key,
                    "task_id": turn.task.id,
                    "arm": str(turn.arm),
                    "inclusion": turn.inclusion,
                    "predicted": str(turn.attempt.label),
                    "confidence": turn.attempt.confidence,
                    "tools": backend.fingerprint,
                    "real": {**vars(execution), "metrics": dict(execution.metrics)},
                }
                file.write(json.dumps(row) + "\n")
                file.flush()
                real[turn.key] = _outcome(turn, execution)
    progress(len(real), len(chosen), "audit")
    return real


def _outcome(turn: Chosen, execution: Execution) -> Attempt:
    return attempt_of(execution, turn.attempt.message_index, turn.attempt.code)


def _read_journal(path: Path, fingerprint: str) -> dict[str, Execution]:
    """What these tools said before; a last line that was torn is done again."""
    found: dict[str, Execution] = {}
    if not path.is_file():
        return found
    text = path.read_text("utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, "utf-8")
    for line in text.splitlines():
        row = json.loads(line)
        if row["tools"] == fingerprint:
            values = row["real"]
            typed = {
                "label": Label(values["label"]),
                "stage": Stage(values["stage"]),
                "source": Source(values["source"]),
            }
            found[row["key"]] = Execution(**{**values, **typed})
    return found


def _standing(row: Trajectory, labels: Mapping[str, Label]) -> Standing:
    predicted = [attempt for attempt in row.attempts if attempt.source is Source.ICWM]
    audited = [(attempt, labels[_key(row, attempt)]) for attempt in predicted if _key(row, attempt) in labels]
    if any(attempt.label is not real for attempt, real in audited):
        return Standing.REFUTED
    last = row.attempts[-1] if row.attempts else None
    if last is None or last.source is Source.REAL or _key(row, last) in labels:
        return Standing.VERIFIED
    return Standing.UNVERIFIED


def _figures(audited: Sequence[tuple[Chosen, Attempt]], baselines: Mapping[Domain, float]) -> dict[str, Any]:
    if not audited:
        return {}
    turns = [
        Audited(turn.task.id, turn.task.domain, turn.attempt.label, found.label, turn.arm, turn.inclusion)
        for turn, found in audited
    ]
    drift = {}
    for domain, baseline in sorted(baselines.items()):
        test = DriftTest(baseline)
        for turn in turns:
            if turn.domain is domain and turn.arm is AuditArm.RANDOM:
                test = test.update(turn.agreed)
        drift[domain] = test.to_json()
    return {"accuracy": estimate_accuracy(turns).to_json(), "drift": drift}
