"""How evenly the packs of a plan keep the ranks of a given cluster busy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecot.data_mix.plan import PackPlan
from ecot.errors import PlanError


@dataclass(frozen=True)
class ClusterBalance:
    """The plan on a cluster. Ranks wait for each other after every pack: ZeRO-3 gathers each layer on all at once."""

    gpus: int
    sequence_ranks: int
    """GPUs that share a pack."""
    data_ranks: int
    packs_per_rank: int
    """Packs that each data rank works off in a step: gradient accumulation."""
    mean: float
    """Time of a full step over that of even ranks, on average: the dearest pack of each turn / the mean."""
    worst: float
    """The same of the worst step."""
    overall: float
    """Time of all steps over that of even ranks without fillers."""
    fillers: int
    """Packs that only fill up the last step of a budget."""


def cluster_balance(plan: PackPlan, gpus: int, sequence_ranks: int = 1) -> ClusterBalance:
    """Deal the plan's packs as training does: of each turn of `data_ranks` neighbouring packs every rank takes one.

    Raises:
        PlanError: the GPUs do not divide by the sequence ranks, or the packs of a step by the data ranks.
    """
    if sequence_ranks < 1 or gpus % sequence_ranks:
        raise PlanError(f"{gpus} GPUs do not divide by {sequence_ranks} sequence ranks; choose a divisor")
    data_ranks = gpus // sequence_ranks
    plan.check_ranks(data_ranks)
    turns = plan.costs.astype(np.float64).reshape(plan.num_steps, -1, data_ranks)
    times, even = turns.max(axis=2).sum(axis=1), turns.sum(axis=(1, 2)) / data_ranks
    full = (turns > 0).all(axis=(1, 2))
    ratios = times[full] / even[full] if full.any() else np.ones(1)
    return ClusterBalance(
        gpus=gpus,
        sequence_ranks=sequence_ranks,
        data_ranks=data_ranks,
        packs_per_rank=plan.packs_per_step // data_ranks,
        mean=float(ratios.mean()),
        worst=float(ratios.max()),
        overall=float(times.sum() / even.sum()),
        fillers=int((plan.costs == 0).sum()),
    )
