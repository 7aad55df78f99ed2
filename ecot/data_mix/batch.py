"""Packs to batches: token ids with document boundaries, and the rows that are scored, their labels already shifted.

Legend: T tokens of the micro-batch (rows x length when padded), n scored rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecot.data_mix.groups import NUM_GROUPS, domain_index, encode_groups
from ecot.data_mix.loss_weights import SCORED_KINDS, LossWeights
from ecot.data_mix.plan import Pack
from ecot.data_mix.store import Document, DocumentStore
from ecot.errors import ConfigError
from ecot.segments import Kind

LAYOUTS = ("packed", "padded")


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the CPU."""

    input_ids: Tensor
    """[1, T] int64; [B, L] when padded."""
    position_ids: Tensor
    """Same shape, int64: positions restart at 0 with each document."""
    cu_seqlens: Tensor | None
    """[documents + 1] int32: where documents begin, and the end; None when padded."""
    max_seqlen: int
    """Tokens of the longest document."""
    row_index: Tensor
    """[n] int64 ascending: row t of the flattened hidden states scores the token after it."""
    labels: Tensor
    """[n] int64: that next token, of the same document."""
    weights: Tensor
    """[n] float32; 0 for rows that are only monitored."""
    groups: Tensor
    """[n] int64 group ids (`ecot.data_mix.groups`) of the predicted tokens."""
    num_groups: int
    tokens: int
    """Tokens of documents, padding and fillers aside."""

    def to_inputs(self) -> dict[str, Any]:
        """The keyword arguments of the model's forward."""
        inputs: dict[str, Any] = {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "row_index": self.row_index,
            "labels": self.labels,
            "weights": self.weights,
            "groups": self.groups,
            "num_groups": self.num_groups,
        }
        if self.cu_seqlens is not None:
            inputs |= {"cu_seqlens": self.cu_seqlens, "max_seqlen": self.max_seqlen}
        return inputs


class Collator:
    """Turns packs into batches.

    Args:
        store: the documents that packs point into.
        weights: weight of each predicted token by its kind (kinds not named weigh 0), or `LossWeights` with rules.
        monitor: kinds that are scored even at weight 0, for their statistics.
        pad_id: fills padded rows, and is the one token of a filler pack.
        layout: `packed`, or `padded` with each document a row of one right-padded batch.

    Raises:
        ConfigError: a weight is negative or not finite, or the layout is unknown.
    """

    def __init__(
        self,
        store: DocumentStore,
        weights: Mapping[Kind, float] | LossWeights,
        *,
        monitor: Collection[Kind] = (),
        pad_id: int,
        layout: str = "packed",
    ) -> None:
        if layout not in LAYOUTS:
            raise ConfigError(f"layout {layout!r} is unknown; allowed: {', '.join(LAYOUTS)}")
        self.store = store
        self.pad_id = pad_id
        self.layout = layout
        self.weights = weights if isinstance(weights, LossWeights) else LossWeights(weights)
        self._monitored = np.isin(SCORED_KINDS, list(monitor))

    def __call__(self, pack: Pack) -> Batch:
        """The batch of one pack; a filler gives a single padding token and no scored rows."""
        return self.collate([self.store[index] for index in pack.documents])

    def collate(self, documents: Sequence[Document]) -> Batch:
        """The batch of some documents."""
        lengths = np.array([len(document) for document in documents] or [1], np.int64)
        packed = self.layout == "packed"
        begins = np.cumsum(lengths) - lengths
        width = int(lengths.max())
        # Where each document begins in the flattened layout.
        starts = begins if packed else np.arange(len(lengths)) * width
        padding = np.array([self.pad_id], np.int32)
        tokens = np.concatenate([document.ids for document in documents] or [padding]).astype(np.int64)
        offsets = np.arange(len(tokens)) - np.repeat(begins, lengths)
        flat = np.repeat(starts, lengths) + offsets
        ids = tokens if packed else np.full(len(lengths) * width, self.pad_id, np.int64)
        ids[flat] = tokens
        positions = offsets if packed else np.tile(np.arange(width), len(lengths))
        rows, labels, weights, groups = self._scored_rows(documents, tokens, begins, flat)
        shape = (1, -1) if packed else (len(lengths), width)
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        return Batch(
            input_ids=torch.from_numpy(ids).reshape(shape),
            position_ids=torch.from_numpy(positions).reshape(shape),
            cu_seqlens=torch.from_numpy(bounds.astype(np.int32)) if packed else None,
            max_seqlen=width,
            row_index=torch.from_numpy(rows),
            labels=torch.from_numpy(labels),
            weights=torch.from_numpy(weights),
            groups=torch.from_numpy(groups),
            num_groups=NUM_GROUPS,
            tokens=int(lengths.sum()) if documents else 0,
        )

    def _scored_rows(
        self, documents: Sequence[Document], tokens: np.ndarray, begins: np.ndarray, flat: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows, labels, weights and groups of the scored rows.

        Args:
            documents: those of the batch.
            tokens: their ids, one document after the other.
            begins: where in `tokens` each document begins.
            flat: where in the flattened layout each token lies.
        """
        if not documents:
            nothing = np.empty(0, np.int64)
            return nothing, nothing, nothing.astype(np.float32), nothing
        runs = [document.run_table for document in documents]
        lengths, kinds, attempts = (np.concatenate(column) for column in zip(*runs, strict=True))
        weights = np.concatenate([self.weights.of_runs(document) for document in documents])
        domains = np.repeat([domain_index(d.domain) for d in documents], [len(run.lengths) for run in runs])
        run_of = np.repeat(np.arange(len(lengths)), lengths)
        scored = ((weights > 0) | self._monitored[kinds])[run_of]
        scored[begins] = False  # nothing predicts the first token of a document
        targets = np.nonzero(scored)[0]
        # Weight, kind and attempt are those of the predicted token; its row is the token before it.
        run_of = run_of[targets]
        groups = encode_groups(kinds[run_of], domains[run_of], attempts[run_of])
        return flat[targets] - 1, tokens[targets], weights[run_of], groups
