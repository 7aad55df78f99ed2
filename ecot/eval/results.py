"""What an evaluation leaves on disk: `eval/<milestone>.json` and the completions beside it.

The dataclasses are the schema: the JSON has their fields, in their order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ecot.errors import DataError
from ecot.eval.metrics import label_mix, mean_pass_at_k
from ecot.rates import Rate, pass_rate
from ecot.run_paths import RunPaths
from ecot.train.milestones import MILESTONE
from ecot.trajectories import Trajectory


@dataclass(frozen=True)
class GroupLoss:
    """Sums over the tokens of one kind, domain and attempt."""

    kind: str
    domain: str
    attempt: int
    tokens: int
    loss: float
    """Mean, nats per token."""
    accuracy: float
    """Share of tokens that are the model's likeliest."""


@dataclass(frozen=True)
class HeldoutLoss:
    """What a model makes of the held-out documents."""

    documents: int
    tokens: int
    """All tokens of the documents, prompts included."""
    means: dict[str, float]
    """`loss` (weighted as in training), and the names of `ecot.train.statistics.name_means`."""
    groups: tuple[GroupLoss, ...]
    """The same by kind, domain and attempt; groups without tokens are left out."""


@dataclass(frozen=True)
class AttemptOutcomes:
    """The outcomes of one round of attempts."""

    attempt: int
    """1 for the first."""
    labels: dict[str, int]
    """Label to number of attempts."""
    passed_by_now: Rate
    """Share of all conversations that have passed at this attempt or before."""


@dataclass(frozen=True)
class CompletionFigures:
    """What came of the model's own attempts."""

    tasks: int
    samples: int
    """Per task."""
    attempts: tuple[AttemptOutcomes, ...]
    verdicts: dict[str, int]
    """Label of the last attempt to number of conversations."""
    pass_at: dict[str, float]
    """k to pass@k of first attempts, the mean over tasks."""
    tokens: int
    """Written by the model in all."""
    cut_off: int
    """Attempts that had not ended after `max_new_tokens`."""
    out_of_room: int
    """Conversations stopped because the model's positions were used up."""
    left_out: tuple[str, ...]
    """Held-out tasks that are not in the tasks given, or that the backend cannot run."""
    file: str
    """The conversations, as trajectories in JSONL, beside this file."""


@dataclass(frozen=True)
class EvalResult:
    """One evaluated export."""

    milestone: str
    plan_step: int
    trained_tokens: int
    """Tokens of all kinds in the plan up to this milestone."""
    parameters: int
    heldout: HeldoutLoss
    completions: CompletionFigures
    seconds: dict[str, float]
    """Wall time of `generation_and_execution` and of `heldout_loss`."""
    inputs: dict[str, Any]
    """Everything that the figures depend on, as hashes and settings."""
    inputs_hash: str
    environment: dict[str, str]
    """Versions and machine on which it ran; the figures should not depend on it."""
    settings: dict[str, Any]
    """The resolved configuration of the run, all sections."""
    command: str
    """The command that made it."""


_ADAPTER = TypeAdapter(EvalResult)


def summarise_completions(
    conversations: Sequence[Trajectory], samples: int, pass_at: Sequence[int], left_out: Sequence[str], file: str
) -> CompletionFigures:
    """Count what happened in the model's conversations.

    Args:
        conversations: as `Completer.complete` gives them.
        samples: per task.
        pass_at: values of k.
        left_out: held-out tasks that were not attempted.
        file: where the conversations are kept.
    """
    first = [conversation.attempts[0].label == "PASS" for conversation in conversations]
    passed: dict[str, int] = {}
    for conversation, hit in zip(conversations, first, strict=True):
        passed[conversation.task_id] = passed.get(conversation.task_id, 0) + hit
    counts = [(samples, hits) for hits in passed.values()]
    turns = [turn for conversation in conversations for turn in conversation.provenance.details["turns"]]
    rounds = max(len(conversation.attempts) for conversation in conversations)
    return CompletionFigures(
        tasks=len(passed),
        samples=samples,
        attempts=tuple(_round(conversations, index) for index in range(rounds)),
        verdicts=label_mix(conversation.attempts[-1].label for conversation in conversations),
        pass_at={str(k): mean_pass_at_k(counts, k) for k in pass_at},
        tokens=sum(turn["tokens"] for turn in turns),
        cut_off=sum(not turn["finished"] for turn in turns),
        out_of_room=sum(conversation.provenance.details["out_of_room"] for conversation in conversations),
        left_out=tuple(left_out),
        file=file,
    )


def _round(conversations: Sequence[Trajectory], index: int) -> AttemptOutcomes:
    labels = [c.attempts[index].label for c in conversations if len(c.attempts) > index]
    passed = (any(attempt.label == "PASS" for attempt in c.attempts[: index + 1]) for c in conversations)
    return AttemptOutcomes(index + 1, label_mix(labels), pass_rate(passed))


def result_path(paths: RunPaths, milestone: str) -> Path:
    """Where the result of a milestone is kept."""
    return paths.eval / f"{milestone}.json"


def completions_path(paths: RunPaths, milestone: str) -> Path:
    """Where its conversations are kept."""
    return paths.eval / f"{milestone}.completions.jsonl"


def write_result(paths: RunPaths, result: EvalResult) -> Path:
    """Write a result; complete or absent (temporary name, fsync, rename)."""
    path = result_path(paths, result.milestone)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as handle:
        handle.write(_ADAPTER.dump_json(result, indent=1))
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    return path


def read_result(path: Path) -> EvalResult:
    """Read a result.

    Raises:
        DataError: the file is not of this version of the schema.
    """
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: field {field!r}: {first['msg']}; evaluate again: ecot eval CONFIG") from error


def read_results(paths: RunPaths) -> list[EvalResult]:
    """The results of the milestones that the run has an export of, in the order of training."""
    # Budgets may have been renamed or left out since: their results stay on disk but are of another run.
    found = [path for path in paths.eval.glob("*.json") if (paths.export / path.stem / MILESTONE).is_file()]
    results = [read_result(path) for path in found]
    return sorted(results, key=lambda result: result.plan_step)


def result_row(result: EvalResult) -> dict[str, Any]:
    """A result as plain values."""
    return _ADAPTER.dump_python(result, mode="json")
