"""What came out of a run, in numbers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ecot.outcomes import Label
from ecot.synthesis.journal import Drawn
from ecot.synthesis.selection import Selection
from ecot.synthesis.slots import Split
from ecot.synthesis.usage import Usage
from ecot.trajectories import Role, Trajectory


@dataclass(frozen=True)
class Lengths:
    """Lengths in characters."""

    median: float
    mean: float
    longest: int
    total: int

    @staticmethod
    def of(texts: Iterable[str]) -> Lengths:
        """Measure some texts."""
        sizes = [len(text) for text in texts] or [0]
        return Lengths(statistics.median(sizes), round(statistics.mean(sizes), 1), max(sizes), sum(sizes))


@dataclass(frozen=True)
class ToolLosses:
    """What a tool that broke did to one split."""

    errors: int = 0
    """Tries that ended in a tool error."""
    unresolved: int = 0
    """Slots given up after several such tries; other slots took their places, and the next run tries them again."""


@dataclass(frozen=True)
class SplitSummary:
    """One split."""

    wanted: int
    trajectories: int
    tasks: list[str]
    attempts: int
    verdicts: dict[str, int]
    labels_by_attempt: list[dict[str, int]]
    """For attempt 1, 2 ...: how many had which label (with subcode, `LABEL/subcode`)."""
    failing_label_shares: dict[str, float]
    """Share of each label among the failing attempts."""
    operators: dict[str, int]
    """Injected faults by operator; empty where a model wrote the attempts."""
    thinking: Lengths
    answers: Lengths
    observations: Lengths
    characters: int
    """Of all messages, thinking included."""
    refused: dict[str, int]
    """Finished trajectories that were not kept, by reason."""
    tool_errors: int
    """Tries that ended in a tool error; most are mended by another try."""
    unresolved: int = 0
    """Slots that the tool broke on each time; a run with such slots is not finished."""
    shortfall: int = 0
    """How many fewer trajectories than wanted: `max_draws` was reached."""


@dataclass(frozen=True)
class SynthesisSummary:
    """A run of synthesis."""

    splits: dict[str, SplitSummary]
    discards: dict[str, int]
    """Turns, faults and tries that were discarded on the way, by reason."""
    executions: int
    """Candidates that the tool really ran, those before an interruption included."""
    seconds: float
    """Wall time of this run; a resumed run counts only its own part."""
    executions_per_second: float
    """Of this run alone."""
    resumed: int
    """Trajectories found finished at the start."""
    trajectories_per_second: float = 0.0
    """Of this run alone, refused ones included."""
    usage: Usage | None = None
    """What a model's server did, for refused trajectories and before an interruption too; None without a model."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> SynthesisSummary:
        """The inverse of `to_json`."""
        splits = {}
        for name, values in row["splits"].items():
            lengths = {key: Lengths(**values[key]) for key in ("thinking", "answers", "observations")}
            splits[name] = SplitSummary(**{**values, **lengths})
        usage = Usage(**row["usage"]) if row.get("usage") is not None else None
        return SynthesisSummary(**{**row, "splits": splits, "usage": usage})


def summarise(
    selections: Mapping[Split, Selection],
    drawn: Sequence[Drawn],
    resumed: Sequence[Drawn],
    losses: Mapping[Split, ToolLosses],
    seconds: float,
    tasks: Mapping[Split, list[str]],
    wanted: Mapping[Split, int],
) -> SynthesisSummary:
    """Count everything; `resumed` are those of `drawn` that an earlier, interrupted run left."""
    discards: Counter[str] = Counter()
    for item in drawn:
        discards.update(item.discards)
    executions = sum(item.executions for item in drawn)
    fresh = executions - sum(item.executions for item in resumed)
    finished = sum(item.trajectory is not None for item in drawn) - sum(item.trajectory is not None for item in resumed)
    usages = [item.usage for item in drawn if item.usage is not None]
    return SynthesisSummary(
        splits={
            str(split): _split(selection, wanted[split], tasks[split], losses[split])
            for split, selection in selections.items()
        },
        discards=dict(sorted(discards.items())),
        executions=executions,
        seconds=round(seconds, 3),
        executions_per_second=round(fresh / seconds, 2) if seconds else 0.0,
        resumed=len(resumed),
        trajectories_per_second=round(finished / seconds, 3) if seconds else 0.0,
        usage=sum(usages, Usage()) if usages else None,
    )


def _split(selection: Selection, wanted: int, tasks: list[str], losses: ToolLosses) -> SplitSummary:
    kept = selection.kept
    messages = [message for trajectory in kept for message in trajectory.messages]
    assistant = [m for m in messages if m.role is Role.ASSISTANT]
    failing = selection.failing
    operators: Counter[str] = Counter()
    for trajectory in kept:
        operators.update(trajectory.provenance.details.get("operators", ()))
    return SplitSummary(
        wanted=wanted,
        trajectories=len(kept),
        shortfall=wanted - len(kept),
        tasks=tasks,
        attempts=sum(len(trajectory.attempts) for trajectory in kept),
        verdicts=dict(Counter(str(trajectory.verdict) for trajectory in kept)),
        labels_by_attempt=_labels_by_attempt(kept),
        failing_label_shares={str(k): round(v / failing.total(), 4) for k, v in sorted(failing.items())},
        operators=dict(sorted(operators.items())),
        thinking=Lengths.of(m.reasoning_content or "" for m in assistant),
        answers=Lengths.of(m.content for m in assistant),
        observations=Lengths.of(m.content for m in messages if m.role is Role.OBSERVATION),
        characters=sum(len(m.content) + len(m.reasoning_content or "") for m in messages),
        refused=dict(selection.discards),
        tool_errors=losses.errors,
        unresolved=losses.unresolved,
    )


def _labels_by_attempt(kept: Sequence[Trajectory]) -> list[dict[str, int]]:
    longest = max((len(trajectory.attempts) for trajectory in kept), default=0)
    table: list[Counter[str]] = [Counter() for _ in range(longest)]
    for trajectory in kept:
        for counter, attempt in zip(table, trajectory.attempts, strict=False):
            label = attempt.label
            plain = label is Label.PASS or not attempt.subcode
            counter[str(label) if plain else f"{label}/{attempt.subcode}"] += 1
    return [dict(sorted(counter.items())) for counter in table]
