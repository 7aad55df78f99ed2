"""Packs for a device that expands them itself: token ids and the table of spans go over, the rows are made there.

The same rows as `Collator.collate` gives, trained ones first, to the bit. Their number is known on the host, so the
device is never asked. Legend: T tokens of the pack, N documents, S runs, n scored rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ecot.data_mix.batch import Collator, PackTables
from ecot.data_mix.groups import DOMAINS, MAX_ATTEMPT
from ecot.data_mix.loss_weights import SCORED_KINDS
from ecot.data_mix.plan import Pack
from ecot.errors import ConfigError
from ecot.kernels.packing.expand import Implementation, compact_rows, expand_pack
from ecot.kernels.packing.spans import ExpandedPack, ScoringRule, SpanTable

Expand = Literal["auto", "host", "device"]
"""Where the rows of a pack are made; `auto`: on the device where that is a CUDA device and the layout is packed."""


def expands_on_device(expand: Expand, layout: str, cuda: bool) -> bool:
    """What the switch means here.

    Raises:
        ConfigError: `device` with padded rows, which have no span table.
    """
    if expand == "device" and layout != "packed":
        raise ConfigError(f"expand: device needs layout: packed, not {layout}; set expand: auto or host")
    return expand == "device" or (expand == "auto" and cuda and layout == "packed")


@dataclass(frozen=True)
class SpanBatch:
    """One micro-batch before expansion, on the CPU."""

    ids: Tensor
    """[T] int32 of the whole pack, also where this rank holds a stretch of it: labels reach into the next one."""
    table: SpanTable
    rule: ScoringRule
    max_seqlen: int
    """Tokens of the longest document."""
    begin: int
    """First token of this rank's stretch."""
    end: int
    """The one after its last."""
    num_trained: int
    """Rows of this rank with a weight."""
    num_monitored: int
    """Rows of this rank that are only watched."""
    weight_sum: float
    """Sum of the weights of its rows, in float64."""

    def to_inputs(self) -> dict[str, Any]:
        """What goes over to the device: tensors that a loader can pin, and numbers. `expand_inputs` takes it there."""
        table, rule = self.table, self.rule
        inputs: dict[str, Any] = {
            "span_ids": self.ids,
            "cu_seqlens": table.cu_seqlens,
            "domains": table.domains,
            "run_ends": table.run_ends,
            "kinds": table.kinds,
            "attempts": table.attempts,
            "weights_KA": rule.weights_KA,
            "monitored_KA": rule.monitored_KA,
            "max_seqlen": self.max_seqlen,
            "stretch": (self.begin, self.end),
            "num_rows": (self.num_trained, self.num_monitored),
        }
        return inputs if table.weights is None else inputs | {"run_weights": table.weights}


class SpanCollator:
    """Turns packs into span batches.

    Args:
        collator: says what is scored, and which stretch of a pack this rank holds.
    """

    def __init__(self, collator: Collator) -> None:
        self.collator = collator
        self.rule = scoring_rule(collator)

    def __call__(self, pack: Pack) -> SpanBatch:
        """The span batch of one pack."""
        collator = self.collator
        tables = collator.tables([collator.store[index] for index in pack.documents])
        begin, end = collator.shard.stretch(len(tables.ids))
        predicted, trained = tables.predicted(begin, end), tables.weights > 0
        return SpanBatch(
            ids=torch.from_numpy(tables.ids),
            table=self._span_table(tables),
            rule=self.rule,
            max_seqlen=int(np.diff(tables.bounds).max()),
            begin=begin,
            end=end,
            num_trained=int(predicted[trained].sum()),
            num_monitored=int(predicted[collator.scored_runs(tables) & ~trained].sum()),
            weight_sum=collator.weight_sum(tables),
        )

    def _span_table(self, tables: PackTables) -> SpanTable:
        columns = (tables.bounds, tables.domains, tables.run_ends, tables.kinds, tables.attempts)
        table = SpanTable(*(torch.from_numpy(column.astype(np.int32)) for column in columns))
        # Rules weigh the same kind and attempt of two documents differently.
        return replace(table, weights=torch.from_numpy(tables.weights)) if self.collator.weights.rules else table


def scoring_rule(collator: Collator) -> ScoringRule:
    """Weights and monitored kinds of a collator, loss rules aside."""
    attempts = MAX_ATTEMPT + 1
    weights = torch.from_numpy(collator.weights.by_kind)
    monitored = torch.from_numpy(collator.monitored)
    assert len(weights) == len(monitored) == len(SCORED_KINDS)
    return ScoringRule(
        weights[:, None].repeat(1, attempts), monitored[:, None].repeat(1, attempts), num_domains=len(DOMAINS)
    )


def expand_inputs(inputs: Mapping[str, Any], implementation: Implementation = "auto") -> dict[str, Any]:
    """The keyword arguments of the model's forward, made on the device that the tensors are on, without waiting for it.

    Args:
        inputs: what `SpanBatch.to_inputs` gave, moved. Anything else comes back as it is.
        implementation: see `expand_pack`.
    """
    if "span_ids" not in inputs:
        return dict(inputs)
    ids_T = inputs["span_ids"]
    table = SpanTable(
        inputs["cu_seqlens"],
        inputs["domains"],
        inputs["run_ends"],
        inputs["kinds"],
        inputs["attempts"],
        inputs.get("run_weights"),
    )
    rule = ScoringRule(inputs["weights_KA"], inputs["monitored_KA"], len(DOMAINS))
    pack = expand_pack(ids_T, table, rule, implementation=implementation)
    begin, end = inputs["stretch"]
    own = ExpandedPack(**{name: column[begin:end] for name, column in vars(pack).items()})
    num_trained, num_monitored = inputs["num_rows"]
    rows = compact_rows(own, num_trained, num_monitored, rule.num_groups, implementation=implementation)
    return {
        "input_ids": ids_T[begin:end].long()[None],
        "position_ids": own.position_ids[None],
        "row_index": rows.row_index,
        "labels": rows.labels,
        "weights": rows.weights,
        "groups": rows.groups,
        "num_groups": rows.num_groups,
        "num_trained": rows.num_trained,
        "cu_seqlens": table.cu_seqlens,
        "max_seqlen": inputs["max_seqlen"],
    }
