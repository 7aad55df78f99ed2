"""Calibrate a trained world model on some tasks, then hold it against the tools on others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecot.data_mix.config import DataConfig
from ecot.errors import CheckpointError, ConfigError, DataError
from ecot.outcomes import Domain, Label, Source
from ecot.progress import Progress, no_progress
from ecot.rates import pass_rate
from ecot.run_paths import RunPaths
from ecot.tasks.bundle import Task
from ecot.train.milestones import list_exports
from ecot.trajectories import Trajectory
from ecot.trajectory_io import read_trajectories
from ecot.world_model.asking import Prediction, Predictor, label_scores
from ecot.world_model.calibration import Calibration, ScoredTurn, fit_calibration
from ecot.world_model.config import WorldModelConfig
from ecot.world_model.environment import Question
from ecot.world_model.fidelity import majority_baseline, measure_fidelity
from ecot.world_model.judged import Judged
from ecot.world_model.model_folder import Card, open_predictor, write_card
from ecot.world_model.outcome_text import Outcome, Verdict, read_outcome
from ecot.world_model.pairs import load_all_tasks, pair_path, read_summary
from ecot.world_model.splits import Part
from ecot.world_model.verdicts import Replayed, verdict_agreement


@dataclass(frozen=True)
class StoredTurn:
    """A stored turn to predict, and what the tool said."""

    task: Task
    code: str
    label: Label
    told: Outcome


@dataclass(frozen=True)
class WorldModelResult:
    """What `ecot icwm evaluate` found; also the file `eval/icwm-<milestone>.json`."""

    milestone: str
    figures: Mapping[str, Any]
    path: Path


def choose_export(paths: RunPaths, name: str | None) -> Path:
    """The export of a milestone, or the last one.

    Raises:
        CheckpointError: it does not exist.
    """
    found = {folder.name: folder for folder in list_exports(paths)}
    if not found or (name is not None and name not in found):
        have = ", ".join(found) or "no export"
        wanted = "an export" if name is None else f"the export {name!r}"
        raise CheckpointError(f"{paths.export}: {wanted} is needed, there is {have}; make it: ecot export {paths.root}")
    return found[name] if name is not None else list(found.values())[-1]


def evaluate(
    config: WorldModelConfig, data: DataConfig, paths: RunPaths, seed: int, progress: Progress = no_progress
) -> WorldModelResult:
    """Predict all calibration and held-out turns; fit confidences and thresholds; write the model's card and figures.

    Raises:
        CheckpointError: there is no export.
        ConfigError: there are no pairs, or tasks are missing.
        DataError: there is no turn to calibrate on.
    """
    export = choose_export(paths, config.milestone)
    tasks = load_all_tasks(config.tasks)
    summary = read_summary(paths)
    learnt, fingerprints = _learnt(paths)
    card = _blank_card(config, data, summary.verdicts, fingerprints)
    fitting, heldout = (read_turns(paths, part, tasks) for part in (Part.CALIBRATION, Part.HELDOUT))
    predictor = open_predictor(
        export,
        card,
        batch_size=config.batch_size,
        device=config.device,
        key="world_model.device",
        endpoint=config.endpoint,
    )
    total = len(fitting) + len(heldout)
    fitted, _ = _predict(predictor, fitting, lambda done: progress(done, total, "calibration"))
    predicted, unpredicted = _predict(
        predictor, heldout, lambda done: progress(len(fitting) + done, total, "held-out turns")
    )
    scored = [ScoredTurn(t.task.id, t.task.domain, t.label, label_scores(p.scores)) for t, p in fitted]
    calibration = fit_calibration(scored, config.target_accuracy)
    judged = [judge(turn, prediction, calibration) for turn, prediction in predicted]
    if not judged:
        raise ConfigError("none of the held-out turns fits the model's positions; lower environment_characters")
    report = measure_fidelity(judged, seed)
    write_card(export, replace(card, calibration=calibration, accuracy=_audited_accuracy(judged, calibration)))
    replayed = _replay(config.trajectories, summary.tasks, tasks, predicted)
    figures = {
        "fidelity": report.to_json(),
        "majority_baseline": measure_fidelity(majority_baseline(learnt, judged), seed).to_json(),
        "trajectories": verdict_agreement(replayed).to_json() if replayed else None,
        "calibration": calibration.to_json(),
        "turns": {"calibration": len(fitting), "heldout": len(heldout)},
        "unpredicted": dict(sorted(Counter(unpredicted).items())),
    }
    path = paths.eval / f"icwm-{export.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"milestone": export.name, **figures}, indent=1) + "\n", "utf-8")
    return WorldModelResult(export.name, figures, path)


def _audited_accuracy(judged: Sequence[Judged], calibration: Calibration) -> dict[Domain, float]:
    """By domain, the lower end of the accuracy of what would stand in for the tools, which is what audits meet.

    Where no prediction is trusted it is that of all: whoever lets them stand without tools has no others.
    """
    found = {}
    for domain in sorted({turn.domain for turn in judged}):
        inside = [turn for turn in judged if turn.domain is domain]
        trusted = [turn for turn in inside if calibration.trusts(domain, turn.confidence)]
        found[domain] = pass_rate(turn.correct for turn in trusted or inside).low
    return found


def _blank_card(
    config: WorldModelConfig,
    data: DataConfig,
    verdicts: Mapping[Domain, tuple[Verdict, ...]],
    fingerprints: Mapping[Domain, tuple[str, ...]],
) -> Card:
    """How the model is asked, before anything is known of its worth."""
    return Card(
        question=Question(config.environment_characters, config.show_hidden),
        observation_role=data.observation_role,
        past_thinking=data.past_thinking,
        verdicts=verdicts,
        calibration=Calibration(1.0, {}, {}),
        accuracy={},
        fingerprints=fingerprints,
        max_new_tokens=config.max_new_tokens,
    )


def read_turns(paths: RunPaths, part: Part, tasks: Mapping[str, Task]) -> list[StoredTurn]:
    """The turns of a part, as `ecot icwm pairs` wrote them.

    Raises:
        ConfigError: one is of a task that is not there, or has changed since.
    """
    turns = []
    for row in read_trajectories(pair_path(paths, part)):
        task = tasks.get(row.task_id)
        if task is None or task.hash != row.task_hash:
            raise ConfigError(
                f"{pair_path(paths, part)}: task {row.task_id!r} is not in world_model.tasks, or has changed; make the "
                "pairs again: ecot icwm pairs CONFIG"
            )
        told = read_outcome(row.messages[-1].content)
        assert told is not None, row.id
        turns.append(StoredTurn(task, row.attempts[0].code, row.attempts[0].label, told))
    return turns


def judge(turn: StoredTurn, prediction: Prediction, calibration: Calibration) -> Judged:
    """A prediction beside the truth, with calibrated probabilities."""
    return Judged(
        task_id=turn.task.id,
        domain=turn.task.domain,
        real=turn.label,
        predicted=prediction.outcome.verdict.label,
        probabilities=calibration.probabilities(turn.task.domain, label_scores(prediction.scores)),
        real_text=turn.told.diagnostics,
        predicted_text=prediction.outcome.diagnostics,
    )


def _predict(
    predictor: Predictor, turns: Sequence[StoredTurn], tell: Callable[[int], None]
) -> tuple[list[tuple[StoredTurn, Prediction]], list[str]]:
    """Turns with their predictions, and why the others have none."""
    asked, prompts, reasons = [], [], []
    for turn in turns:
        try:
            prompts.append(predictor.prompt(turn.task, turn.code))
            asked.append(turn)
        except DataError:
            reasons.append("too long, or holds control tokens")
        except ConfigError:
            reasons.append("a domain that the training turns do not have")
    return list(zip(asked, predictor.predict(prompts, tell), strict=True)), reasons


def _replay(
    files: Sequence[Path],
    parts: Mapping[str, Part],
    tasks: Mapping[str, Task],
    predicted: Sequence[tuple[StoredTurn, Prediction]],
) -> list[Replayed]:
    """Stored trajectories of held-out tasks whose attempts were all predicted."""
    known = {(turn.task.id, turn.code): found.outcome.verdict.label for turn, found in predicted}
    replayed = []
    for file in files:
        for row in read_trajectories(file):
            if parts.get(row.task_id) is not Part.HELDOUT or tasks[row.task_id].hash != row.task_hash:
                continue
            if found := _predicted_labels(row, known):
                replayed.append(Replayed(Domain(row.domain), tuple(a.label for a in row.attempts), found))
    return replayed


def _predicted_labels(row: Trajectory, known: Mapping[tuple[str, str], Label]) -> tuple[Label, ...] | None:
    """What was predicted of each attempt; an answer without code is told without any tool. None if one is missing."""
    labels: list[Label] = []
    for attempt in row.attempts:
        if attempt.label is Label.FORMAT_ERROR:
            labels.append(attempt.label)
        elif attempt.source is Source.REAL and (row.task_id, attempt.code) in known:
            labels.append(known[row.task_id, attempt.code])
        else:
            return None
    return tuple(labels) or None


def _learnt(paths: RunPaths) -> tuple[list[tuple[Domain, Label]], dict[Domain, tuple[str, ...]]]:
    """Domain and label of each training turn, and the tools that gave them."""
    labels: list[tuple[Domain, Label]] = []
    found: dict[Domain, set[str]] = {}
    for row in read_trajectories(pair_path(paths, Part.TRAIN)):
        labels += [(row.domain, attempt.label) for attempt in row.attempts]
        found.setdefault(row.domain, set()).update(attempt.fingerprint for attempt in row.attempts)
    return labels, {domain: tuple(sorted(values)) for domain, values in sorted(found.items())}
