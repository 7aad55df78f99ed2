"""Group ids: kind, domain and attempt of a scored token in one small integer, so that one pass of the loss sums all.

`group = kind + 4 * (domain + 6 * min(attempt, 7))`: kind in 0..3, domain in the order of `ecot.outcomes.Domain`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ecot.outcomes import Domain
from ecot.segments import Kind

DOMAINS = tuple(Domain)
KINDS = (Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION)
MAX_ATTEMPT = 7
"""Attempts from here on share a group."""
NUM_GROUPS = len(KINDS) * len(DOMAINS) * (MAX_ATTEMPT + 1)


_INDEX = {domain: index for index, domain in enumerate(DOMAINS)}


class Group(NamedTuple):
    """What a group id stands for."""

    kind: Kind
    domain: Domain
    attempt: int
    """`MAX_ATTEMPT` stands for itself and all later ones."""


def domain_index(domain: Domain) -> int:
    """Position of a domain in `DOMAINS`."""
    return _INDEX[domain]


def encode_groups(kinds: Any, domains: Any, attempts: Any) -> Any:
    """Group ids [n] int64 of kinds [n], domain indices [n] and attempts [n] (arrays or integers)."""
    clipped = np.minimum(np.asarray(attempts, np.int64), MAX_ATTEMPT)
    return np.asarray(kinds, np.int64) + len(KINDS) * (np.asarray(domains, np.int64) + len(DOMAINS) * clipped)


def decode_group(group: int) -> Group:
    """The kind, domain and attempt of one id.

    Raises:
        ValueError: the id is not in 0..NUM_GROUPS-1.
    """
    if not 0 <= group < NUM_GROUPS:
        raise ValueError(f"group {group} is not in 0..{NUM_GROUPS - 1}")
    rest, kind = divmod(group, len(KINDS))
    attempt, domain = divmod(rest, len(DOMAINS))
    return Group(KINDS[kind], DOMAINS[domain], attempt)


def marginalise(stats: Any, key: Callable[[Group], Any]) -> dict[Any, Any]:
    """Sum per-group statistics over everything but `key`.

    Args:
        stats: [NUM_GROUPS, ...] array or tensor of sums.
        key: what to sum by, for example `lambda group: group.kind`.

    Returns:
        Key to the sum of its rows, for keys in order of first appearance.
    """
    if len(stats) != NUM_GROUPS:
        raise ValueError(f"expected {NUM_GROUPS} groups, got {len(stats)}")
    sums: dict[Any, Any] = {}
    for index in range(NUM_GROUPS):
        name = key(decode_group(index))
        sums[name] = sums[name] + stats[index] if name in sums else stats[index]
    return sums
