"""From trajectories to single turns: environment and candidate in, what the tool said out."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ecot.errors import ConfigError, DataError
from ecot.outcomes import Domain, Execution, Label, Source, Stage
from ecot.run_paths import RunPaths
from ecot.synthesis.engine import JOURNAL
from ecot.synthesis.slots import derive_seed
from ecot.tasks.bundle import Task
from ecot.tasks.registry import load_tasks
from ecot.trajectories import Attempt, Message, Provenance, Role, Trajectory, TurnKind
from ecot.trajectory_io import read_trajectories, write_trajectories
from ecot.world_model.config import WorldModelConfig
from ecot.world_model.environment import Question
from ecot.world_model.outcome_text import Verdict, write_outcome
from ecot.world_model.splits import Part, split_tasks

NAME = "icwm_pairs"
"""Generator of the rows in their provenance."""
_OF_SYNTHESIS = ("summary.json", JOURNAL)
_ANSWER = 2
"""Index of the message that tells the outcome."""


@dataclass(frozen=True)
class PairSummary:
    """What `ecot icwm pairs` made."""

    pairs: Mapping[Part, Mapping[Domain, int]]
    """Turns by part and domain."""
    labels: Mapping[Part, Mapping[Label, int]]
    tasks: Mapping[str, Part]
    """Every task and where it went."""
    verdicts: Mapping[Domain, tuple[Verdict, ...]]
    """What was seen in training: the world model chooses among these."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Attempts that became no pair, by reason."""

    def to_json(self) -> dict[str, Any]:
        """As it is written to `pairs.json`."""
        row: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return row


def read_summary(paths: RunPaths) -> PairSummary:
    """What `make_pairs` wrote.

    Raises:
        ConfigError: there are no pairs yet.
    """
    path = paths.pairs
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; make the pairs first: ecot icwm pairs CONFIG")
    row = json.loads(path.read_text("utf-8"))
    verdicts = {Domain(d): tuple(map(_read_verdict, found)) for d, found in row["verdicts"].items()}
    parts = {Part(part): {Domain(d): n for d, n in counts.items()} for part, counts in row["pairs"].items()}
    labels = {Part(part): {Label(label): n for label, n in counts.items()} for part, counts in row["labels"].items()}
    return PairSummary(parts, labels, {id: Part(p) for id, p in row["tasks"].items()}, verdicts, row["left_out"])


def _read_verdict(row: Mapping[str, str]) -> Verdict:
    return Verdict(Label(row["label"]), row["subcode"], Stage(row["stage"]))


def pair_path(paths: RunPaths, part: Part) -> Path:
    """The file of a part; those of training and of held-out turns are where `ecot train` looks for them."""
    return paths.trajectories / f"{part}.parquet"


def load_all_tasks(sources: Sequence[str]) -> dict[str, Task]:
    """The tasks of several sources.

    Raises:
        ConfigError: two of them hold different tasks of one id.
    """
    tasks: dict[str, Task] = {}
    for source in sources:
        for id, task in load_tasks(source).items():
            if id in tasks and tasks[id].hash != task.hash:
                raise ConfigError(f"key 'world_model.tasks': two different tasks are called {id!r}; rename one")
            tasks[id] = task
    return tasks


def make_pairs(config: WorldModelConfig, paths: RunPaths, seed: int) -> PairSummary:
    """Write the pairs of every part and their summary.

    A turn that occurs several times becomes one pair. Every real attempt of a known task becomes one, passed or failed.

    Raises:
        ConfigError: tasks or trajectories do not suit the configuration, or the run's folder holds other trajectories.
        DataError: a trajectory is malformed, or equal candidates have different outcomes under one fingerprint.
    """
    foreign = [name for name in _OF_SYNTHESIS if (paths.trajectories / name).exists()]
    if foreign:
        raise ConfigError(
            f"{paths.trajectories} holds what `ecot synth` wrote ({', '.join(foreign)}), and pairs would replace its "
            "trajectories; give the world model a run of its own: another 'name' or 'run_dir'"
        )
    tasks = load_all_tasks(config.tasks)
    turns, left_out = collect_turns(config.trajectories, tasks)
    if not turns:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "they hold no attempt"
        raise ConfigError(f"key 'world_model.trajectories': no real execution to learn from ({reasons})")
    parts = split_tasks(config, seed, {turn.task.id: turn.task.domain for turn in turns})
    question = Question(config.environment_characters, config.show_hidden)
    by_part: dict[Part, list[Turn]] = {part: [turn for turn in turns if parts[turn.task.id] is part] for part in Part}
    for part in (Part.CALIBRATION, Part.HELDOUT):
        by_part[part], dropped = _thinned(by_part[part], config.max_heldout_turns, Random(derive_seed(seed, str(part))))
        if dropped:
            left_out[f"beyond max_heldout_turns ({part})"] += dropped
    paths.trajectories.mkdir(parents=True, exist_ok=True)
    for part, chosen in by_part.items():
        write_trajectories(pair_path(paths, part), (turn.to_row(question) for turn in chosen))
    summary = PairSummary(
        pairs={part: _counts(turn.task.domain for turn in chosen) for part, chosen in by_part.items()},
        labels={part: _counts(turn.attempt.label for turn in chosen) for part, chosen in by_part.items()},
        tasks=dict(sorted(parts.items())),
        verdicts=_verdicts(by_part[Part.TRAIN]),
        left_out=dict(left_out),
    )
    _write(paths.pairs, summary)
    return summary


@dataclass(frozen=True)
class Turn:
    """One candidate of a task and what the tool said of it."""

    task: Task
    attempt: Attempt

    @property
    def key(self) -> str:
        """The same for equal candidates of equal tasks under equal tools."""
        parts = (self.task.hash, self.attempt.code, self.attempt.fingerprint)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def verdict(self) -> Verdict:
        """The real one."""
        return Verdict(self.attempt.label, self.attempt.subcode, self.attempt.stage)

    def to_row(self, question: Question) -> Trajectory:
        """As a conversation whose last turn is an observation of the model's own."""
        told = Message(Role.ASSISTANT, outcome_of(self.attempt), kind=TurnKind.OBSERVATION)
        attempt = Attempt(**{**vars(self.attempt), "message_index": _ANSWER})
        return Trajectory(
            id=f"{self.task.id}-{self.key[:16]}",
            task_id=self.task.id,
            task_hash=self.task.hash,
            domain=self.task.domain,
            verdict=attempt.label,
            messages=(*question.messages(self.task, attempt.code), told),
            attempts=(attempt,),
            provenance=Provenance(NAME, "world_model", 0),
        )


def outcome_of(attempt: Attempt) -> str:
    """The text that tells an attempt's outcome."""
    return write_outcome(
        Execution(attempt.label, attempt.subcode, attempt.stage, attempt.diagnostics, dict(attempt.metrics))
    )


def collect_turns(files: Iterable[Path], tasks: Mapping[str, Task]) -> tuple[list[Turn], Counter[str]]:
    """Every distinct real turn of the files, in the order of their first occurrence, and what was left out.

    Raises:
        DataError: a file is malformed, or holds two outcomes of one candidate under one fingerprint.
    """
    found: dict[str, Turn] = {}
    left_out: Counter[str] = Counter()
    for trajectory in _read_all(files):
        task = tasks.get(trajectory.task_id)
        for attempt in trajectory.attempts:
            reason = _unfit(trajectory, attempt, task)
            if reason is not None:
                left_out[reason] += 1
                continue
            assert task is not None
            turn = Turn(task, attempt)
            known = found.setdefault(turn.key, turn)
            if known is not turn:
                left_out["seen before"] += 1
                if outcome_of(known.attempt) != outcome_of(attempt):
                    raise DataError(
                        f"trajectory {trajectory.id}: the same candidate of task {task.id} was {known.attempt.label} "
                        f"before and is {attempt.label} now, or its diagnostics differ, under one fingerprint; the "
                        "tool is not deterministic: run `ecot backends check`"
                    )
    return list(found.values()), left_out


def _read_all(files: Iterable[Path]) -> Iterator[Trajectory]:
    for file in files:
        yield from read_trajectories(file)


def _unfit(trajectory: Trajectory, attempt: Attempt, task: Task | None) -> str | None:
    """Why an attempt cannot be learnt from."""
    if task is None:
        return "of an unknown task"
    if task.hash != trajectory.task_hash:
        return "of a task that has changed since"
    if attempt.source is not Source.REAL:
        return "predicted, not executed"
    if attempt.label is Label.TOOL_ERROR:
        return "a broken tool"
    if attempt.label is Label.FORMAT_ERROR:
        return "without code"
    return None


def _thinned(turns: Sequence[Turn], most: int, rng: Random) -> tuple[list[Turn], int]:
    """At most so many turns of each domain, in their order."""
    kept: set[int] = set()
    for domain in sorted({turn.task.domain for turn in turns}):
        places = [place for place, turn in enumerate(turns) if turn.task.domain is domain]
        kept |= set(places if len(places) <= most else rng.sample(places, most))
    return [turn for place, turn in enumerate(turns) if place in kept], len(turns) - len(kept)


def _verdicts(turns: Sequence[Turn]) -> dict[Domain, tuple[Verdict, ...]]:
    domains = sorted({turn.task.domain for turn in turns})
    return {d: tuple(sorted({turn.verdict for turn in turns if turn.task.domain is d})) for d in domains}


def _counts(items: Iterable[Any]) -> dict[Any, int]:
    return dict(sorted(Counter(items).items()))


def _write(path: Path, summary: PairSummary) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(summary.to_json(), indent=2) + "\n", "utf-8")
    temporary.replace(path)
