"""From a pack's tables to what the model and the loss take, on whatever device the tables are."""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from ecot.kernels.linear_cross_entropy import ScoredRows
from ecot.kernels.packing import reference
from ecot.kernels.packing.spans import ExpandedPack, ScoringRule, SpanTable

Implementation = Literal["auto", "torch", "triton"]


def expand_pack(
    ids_T: Tensor, table: SpanTable, rule: ScoringRule, *, implementation: Implementation = "auto"
) -> ExpandedPack:
    """Position ids, kinds, shifted labels, weights and groups of a pack.

    Args:
        ids_T: [T] integers, token ids.
        table: on the same device.
        rule: on the same device.
        implementation: `auto` is Triton on CUDA and torch elsewhere; their results are equal to the bit.

    Raises:
        ValueError: nothing to expand.
    """
    if len(ids_T) == 0:
        raise ValueError("the pack has no tokens; a filler pack holds at least one padding token")
    return _steps(implementation, ids_T.device).expand(ids_T, table, rule)


def compact_rows(
    pack: ExpandedPack,
    num_trained: int,
    num_monitored: int,
    num_groups: int,
    *,
    implementation: Implementation = "auto",
) -> ScoredRows:
    """The scored rows of a pack, trained ones first, each part ascending.

    Their numbers come from the host (`ScoringRule.count`), so that the device need not be asked; on CUDA they are
    trusted.
    """
    steps = _steps(implementation, pack.labels.device)
    row_index, labels, weights, groups = steps.compact(pack, num_trained, num_monitored)
    return ScoredRows(row_index, labels, weights, groups, num_groups, num_trained)


def _steps(implementation: Implementation, device: torch.device) -> ModuleType:
    if implementation == "torch" or (implementation == "auto" and device.type != "cuda"):
        return reference
    from ecot.kernels.packing import triton as kernels  # compiles only where it is used

    return kernels
