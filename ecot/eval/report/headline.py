"""The few numbers that stand above everything else."""

from __future__ import annotations

from dataclasses import dataclass

from ecot.eval.report.charts import compact
from ecot.eval.report.record import RunRecord
from ecot.eval.report.tables import percent


@dataclass(frozen=True)
class Tile:
    """One number."""

    name: str
    value: str
    note: str


def headline(record: RunRecord) -> list[Tile]:
    """Tiles of everything that is known."""
    return [*_data_tiles(record), *_loss_tiles(record), *_completion_tiles(record)]


def _data_tiles(record: RunRecord) -> list[Tile]:
    tiles = []
    if record.synthesis is not None:
        splits = record.synthesis.splits
        attempts = sum(split.attempts for split in splits.values())
        counts = ", ".join(f"{split.trajectories:,} {name}" for name, split in splits.items())
        tiles.append(Tile("executed attempts", f"{attempts:,}", f"in trajectories: {counts}"))
    if record.milestones:
        last = record.milestones[-1]
        counts = last["counts"]
        note = f"of {last['requested_tokens']:,} asked for; {counts['supervised']:,} supervised"
        tiles.append(Tile("trained tokens", f"{counts['all']:,}", note))
    return tiles


def _loss_tiles(record: RunRecord) -> list[Tile]:
    tiles = []
    for kind in ("thinking", "answer"):
        points = [r for r in record.results if f"loss/{kind}" in r.heldout.means]
        if not points:
            continue
        first, last = points[0], points[-1]
        note = "nats per token"
        if len(points) > 1:
            note += f"; {first.heldout.means[f'loss/{kind}']:.3f} at {compact(first.trained_tokens)} tokens"
        tiles.append(Tile(f"held-out {kind} loss", f"{last.heldout.means[f'loss/{kind}']:.3f}", note))
    return tiles


def _completion_tiles(record: RunRecord) -> list[Tile]:
    if not record.results:
        return []
    rate = record.results[-1].completions.attempts[0].passed_by_now
    note = f"{rate.successes} of {rate.trials} first attempts; 95%: {percent(rate.low)} to {percent(rate.high)}"
    return [Tile("pass@1 on held-out tasks", percent(rate.value), note)]
