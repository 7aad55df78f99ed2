"""Packs to batches: token ids with document boundaries, and the rows that are scored, their labels already shifted.

Legend: T tokens of the micro-batch (rows x length when padded), n scored rows, N documents, S runs.
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
class Shard:
    """A sequence rank's stretch of every pack: all ranks of a group hold equally long ones."""

    rank: int = 0
    count: int = 1
    """Sequence ranks that share a pack; packs are padded to a multiple of it."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise ConfigError(f"sequence rank {self.rank} is not in 0..{self.count - 1}")

    def stretch(self, tokens: int) -> tuple[int, int]:
        """First token and the one after the last, of a pack of so many tokens."""
        assert tokens % self.count == 0
        share = tokens // self.count
        return self.rank * share, (self.rank + 1) * share


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the CPU; of a shard, the tensors of its own stretch, but the boundaries of the whole pack."""

    input_ids: Tensor
    """[1, T] int64; [B, L] when padded."""
    position_ids: Tensor
    """Same shape, int64: positions restart at 0 with each document."""
    cu_seqlens: Tensor | None
    """[documents + 1] int32: where documents begin, and the end; None when padded."""
    max_seqlen: int
    """Tokens of the longest document."""
    row_index: Tensor
    """[n] int64 ascending: row t of the flattened hidden states (of the shard) scores the token after it."""
    labels: Tensor
    """[n] int64: that next token, of the same document, also where it lies in the next shard."""
    weights: Tensor
    """[n] float32; 0 for rows that are only monitored."""
    groups: Tensor
    """[n] int64 group ids (`ecot.data_mix.groups`) of the predicted tokens."""
    num_groups: int
    tokens: int
    """Tokens of documents, padding and fillers aside."""
    weight_sum: float
    """Sum of `weights`, in float64."""

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


@dataclass(frozen=True)
class PackTables:
    """Some documents as tables. Padding is a document of its own, of one run of kind -1."""

    ids: np.ndarray
    """[T] int32 tokens, one document after the other."""
    bounds: np.ndarray
    """[N + 1] int64: where documents begin, and the end."""
    domains: np.ndarray
    """[N] int64 domain indices."""
    documents: np.ndarray
    """[S] int64: the document of each run."""
    run_ends: np.ndarray
    """[S] int64: where each run ends."""
    kinds: np.ndarray
    """[S] int64."""
    attempts: np.ndarray
    """[S] int64."""
    weights: np.ndarray
    """[S] float32: the weight of the run's tokens."""
    tokens: int
    """Tokens of documents, without padding."""

    @property
    def run_starts(self) -> np.ndarray:
        """[S] int64: where each run begins."""
        return np.concatenate([[0], self.run_ends[:-1]])

    def predicted(self, begin: int, end: int) -> np.ndarray:
        """[S] int64: tokens of each run that the rows begin .. end - 1 predict. Nothing predicts a first token."""
        starts = self.run_starts
        first = np.diff(self.documents, prepend=-1) != 0
        return np.maximum(0, np.minimum(self.run_ends, end + 1) - np.maximum(starts + first, begin + 1))


class Collator:
    """Turns packs into batches.

    Args:
        store: the documents that packs point into.
        weights: weight of each predicted token by its kind (kinds not named weigh 0), or `LossWeights` with rules.
        monitor: kinds that are scored even at weight 0, for their statistics.
        pad_id: fills padded rows, and is the one token of a filler pack.
        layout: `packed`, or `padded` with each document a row of one right-padded batch.
        shard: which stretch of a pack this rank holds, under sequence parallelism.

    Raises:
        ConfigError: a weight is negative or not finite, the layout is unknown, or padded rows are to be sharded.
    """

    def __init__(
        self,
        store: DocumentStore,
        weights: Mapping[Kind, float] | LossWeights,
        *,
        monitor: Collection[Kind] = (),
        pad_id: int,
        layout: str = "packed",
        shard: Shard = Shard(),
    ) -> None:
        if layout not in LAYOUTS:
            raise ConfigError(f"layout {layout!r} is unknown; allowed: {', '.join(LAYOUTS)}")
        if layout == "padded" and shard.count > 1:
            raise ConfigError(f"layout 'padded' cannot be split over {shard.count} sequence ranks; use 'packed'")
        self.store = store
        self.pad_id = pad_id
        self.layout = layout
        self.shard = shard
        self.weights = weights if isinstance(weights, LossWeights) else LossWeights(weights)
        self.monitored = np.isin(SCORED_KINDS, list(monitor))

    def __call__(self, pack: Pack) -> Batch:
        """The batch of one pack; a filler gives padding and no scored rows."""
        return self.collate([self.store[index] for index in pack.documents])

    def collate(self, documents: Sequence[Document]) -> Batch:
        """The batch of some documents."""
        tables = self.tables(documents)
        lengths = np.diff(tables.bounds)
        packed, width = self.layout == "packed", int(lengths.max())
        # Where each document begins in the flattened layout.
        starts = tables.bounds[:-1] if packed else np.arange(len(lengths)) * width
        offsets = np.arange(len(tables.ids)) - np.repeat(tables.bounds[:-1], lengths)
        flat = np.repeat(starts, lengths) + offsets
        ids = tables.ids.astype(np.int64) if packed else np.full(len(lengths) * width, self.pad_id, np.int64)
        ids[flat] = tables.ids
        positions = offsets if packed else np.tile(np.arange(width), len(lengths))
        rows, labels, weights, groups = self._scored_rows(tables, flat)
        begin, end = self.shard.stretch(len(ids))
        own = slice(*np.searchsorted(rows, (begin, end)))
        shape = (1, -1) if packed else (len(lengths), width)
        return Batch(
            input_ids=torch.from_numpy(ids[begin:end]).reshape(shape),
            position_ids=torch.from_numpy(positions[begin:end]).reshape(shape),
            cu_seqlens=torch.from_numpy(tables.bounds.astype(np.int32)) if packed else None,
            max_seqlen=width,
            row_index=torch.from_numpy(rows[own] - begin),
            labels=torch.from_numpy(labels[own]),
            weights=torch.from_numpy(weights[own]),
            groups=torch.from_numpy(groups[own]),
            num_groups=NUM_GROUPS,
            tokens=self.tokens_of(tables),
            weight_sum=self.weight_sum(tables),
        )

    def tables(self, documents: Sequence[Document]) -> PackTables:
        """The tables of some documents, padded so that all sequence ranks get equally long stretches."""
        tokens = sum(len(document) for document in documents)
        padding = -tokens % self.shard.count if tokens else self.shard.count
        parts: list[tuple[Any, ...]] = [
            (document.ids, *document.run_table, self.weights.of_runs(document), domain_index(document.domain))
            for document in documents
        ]
        if padding:
            parts.append((np.full(padding, self.pad_id, np.int32), [padding], [Kind.PADDING], [0], [0.0], 0))
        ids, run_lengths, kinds, attempts, weights, domains = zip(*parts, strict=True)
        return PackTables(
            ids=np.concatenate(ids),
            bounds=np.cumsum([0, *map(len, ids)], dtype=np.int64),
            domains=np.array(domains, np.int64),
            documents=np.repeat(np.arange(len(parts)), [len(lengths) for lengths in run_lengths]),
            run_ends=np.cumsum(np.concatenate(run_lengths), dtype=np.int64),
            kinds=np.concatenate(kinds).astype(np.int64),
            attempts=np.concatenate(attempts).astype(np.int64),
            weights=np.concatenate(weights).astype(np.float32),
            tokens=tokens,
        )

    def tokens_of(self, tables: PackTables) -> int:
        """Tokens of documents in this rank's stretch."""
        begin, end = self.shard.stretch(len(tables.ids)) if self.shard.count > 1 else (0, tables.tokens)
        return max(0, min(end, tables.tokens) - begin)

    def weight_sum(self, tables: PackTables) -> float:
        """The sum of the weights of this rank's rows."""
        counts = tables.predicted(*self.shard.stretch(len(tables.ids)))
        return float((counts * tables.weights.astype(np.float64)).sum())

    def scored_runs(self, tables: PackTables) -> np.ndarray:
        """[S] bool: runs whose tokens are trained or monitored."""
        return (tables.weights > 0) | (self.monitored[np.maximum(tables.kinds, 0)] & (tables.kinds >= 0))

    def _scored_rows(
        self, tables: PackTables, flat: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows, labels, weights and groups of the scored rows of the whole pack.

        Args:
            tables: the documents.
            flat: [T] where in the flattened layout each token lies.
        """
        run_of = np.repeat(np.arange(len(tables.run_ends)), tables.run_ends - tables.run_starts)
        scored = self.scored_runs(tables)[run_of]
        scored[tables.bounds[:-1]] = False  # nothing predicts the first token of a document
        targets = np.nonzero(scored)[0]
        # Weight, kind and attempt are those of the predicted token; its row is the token before it.
        run_of = run_of[targets]
        domains = tables.domains[tables.documents[run_of]]
        groups = encode_groups(tables.kinds[run_of], domains, tables.attempts[run_of])
        return flat[targets] - 1, tables.ids[targets].astype(np.int64), tables.weights[run_of], groups
