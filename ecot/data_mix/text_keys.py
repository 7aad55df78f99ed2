"""Keys under which texts that say the same are equal."""

from __future__ import annotations

import hashlib

from ecot.trajectories import Trajectory


def normalised_key(trajectory: Trajectory) -> bytes:
    """Digest [16 bytes] of what a trajectory says: roles, texts and codes, with white space squeezed.

    Identifiers, provenance, timings and metrics are no part of it.
    """
    parts = [str(len(trajectory.messages))]
    for message in trajectory.messages:
        role = f"{message.role} as {message.kind}" if message.kind else str(message.role)
        parts += [role, _squeeze(message.reasoning_content or ""), _squeeze(message.content)]
    parts += [_squeeze(attempt.code) for attempt in trajectory.attempts]
    # Squeezed texts hold no line breaks. Surrogates without a partner are refused later, with a line in the account.
    return hashlib.blake2b("\n".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _squeeze(text: str) -> str:
    return " ".join(text.split())
