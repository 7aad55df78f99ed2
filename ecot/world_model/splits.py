"""On which tasks the world model learns, is calibrated and is judged: by task, never by turn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from random import Random

from ecot.errors import ConfigError
from ecot.outcomes import Domain
from ecot.synthesis.slots import derive_seed
from ecot.world_model.config import WorldModelConfig


class Part(StrEnum):
    """A share of the tasks with all executions on them."""

    TRAIN = "train"
    CALIBRATION = "calibration"
    HELDOUT = "heldout"


def split_tasks(config: WorldModelConfig, seed: int, domains: Mapping[str, Domain]) -> dict[str, Part]:
    """Task id to its part, drawn in each domain by itself.

    Args:
        config: the shares, or the held-out tasks by name.
        seed: of the run.
        domains: the tasks that were executed, each with its domain.

    Raises:
        ConfigError: a held-out task was never executed, or a domain has too few tasks to be split.
    """
    unknown = sorted(set(config.heldout_tasks) - set(domains))
    if unknown:
        raise ConfigError(
            f"key 'world_model.heldout_tasks': no execution on {', '.join(unknown)}; tasks with executions: "
            f"{', '.join(sorted(domains))}"
        )
    parts: dict[str, Part] = {}
    for domain in sorted(set(domains.values())):
        ids = sorted(id for id, own in domains.items() if own is domain)
        if len(ids) < 3:
            raise ConfigError(
                f"domain {domain}: executions on {len(ids)} tasks ({', '.join(ids)}); at least 3 are needed, to learn "
                "from, to calibrate on and to hold out: add trajectories on other tasks"
            )
        parts |= _split(config, Random(derive_seed("icwm", seed, str(domain))), ids)
    return parts


def _split(config: WorldModelConfig, rng: Random, ids: Iterable[str]) -> dict[str, Part]:
    order = sorted(ids)
    rng.shuffle(order)
    heldout = [id for id in order if id in config.heldout_tasks]
    if not config.heldout_tasks:
        heldout = order[: _share(config.heldout_fraction, len(order))]
    rest = [id for id in order if id not in heldout]
    count = min(_share(config.calibration_fraction, len(order)), max(0, len(rest) - 1))
    calibration = rest[:count]
    return {
        **dict.fromkeys(rest[count:], Part.TRAIN),
        **dict.fromkeys(calibration, Part.CALIBRATION),
        **dict.fromkeys(heldout, Part.HELDOUT),
    }


def _share(fraction: float, count: int) -> int:
    return max(1, math.floor(fraction * count + 0.5))
