"""Which drawn trajectories are kept: no two alike, no label above its share. Depends on their order only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ecot.outcomes import Label
from ecot.synthesis.journal import Drawn
from ecot.trajectories import Trajectory

_SMALL = 24
"""Below this many failing attempts a share means nothing, so the cap is not applied."""


@dataclass
class Selection:
    """The trajectories kept so far, in the order of their slots."""

    max_label_share: float
    kept: list[Trajectory] = field(default_factory=list)
    discards: Counter[str] = field(default_factory=Counter)
    """Trajectories refused, by reason."""
    failing: Counter[Label] = field(default_factory=Counter)
    """Failing attempts of the kept trajectories by label."""
    _seen: set[tuple[str, ...]] = field(default_factory=set)

    def offer(self, trajectory: Trajectory) -> bool:
        """Keep a trajectory or refuse it."""
        key = (trajectory.task_id, *(attempt.code for attempt in trajectory.attempts))
        if key in self._seen:
            self.discards["duplicate"] += 1
            return False
        labels = Counter(a.label for a in trajectory.attempts if a.label is not Label.PASS)
        after = self.failing + labels
        total = after.total()
        if total >= _SMALL and any(after[label] > self.max_label_share * total for label in labels):
            self.discards["label_share"] += 1
            return False
        self._seen.add(key)
        self.failing = after
        self.kept.append(trajectory)
        return True


def select(drawn: Iterable[Drawn], wanted: int, max_label_share: float) -> Selection:
    """Keep up to `wanted` trajectories of `drawn`, which come in the order of their slots."""
    selection = Selection(max_label_share)
    for item in drawn:
        if len(selection.kept) == wanted:
            break
        if item.trajectory is not None:
            selection.offer(item.trajectory)
    return selection
