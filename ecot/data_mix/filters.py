"""Filters over trajectories. What they leave out is counted by the store's builder, in rows and tokens."""

from __future__ import annotations

import hashlib
import json
import re

from ecot.data_mix.config import FilterConfig
from ecot.trajectories import Trajectory

_WHITE_SPACE = re.compile(r"\s+")


def normalised_key(trajectory: Trajectory) -> bytes:
    """Digest [16 bytes] of what a trajectory says: roles, texts and codes, with white space squeezed.

    Identifiers, provenance, timings and metrics are no part of it.
    """
    parts: list[str] = []
    for message in trajectory.messages:
        parts += [message.role, _squeeze(message.reasoning_content or ""), _squeeze(message.content)]
    parts += [_squeeze(attempt.code) for attempt in trajectory.attempts]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def _squeeze(text: str) -> str:
    return _WHITE_SPACE.sub(" ", text).strip()


class TrajectoryFilter:
    """Applies the configured filters to trajectories in source order.

    Args:
        config: the `filters` section.
        seen: keys of trajectories that came before.
    """

    def __init__(self, config: FilterConfig, seen: set[bytes]) -> None:
        self.config = config
        self.seen = seen

    def reason_against(self, trajectory: Trajectory) -> str | None:
        """Why a trajectory is left out, or None; a kept one is remembered."""
        if self.config.verdicts and trajectory.verdict not in self.config.verdicts:
            return "verdict"
        if self.config.exact_duplicates:
            key = normalised_key(trajectory)
            if key in self.seen:
                return "exact_duplicate"
            self.seen.add(key)
        return None
