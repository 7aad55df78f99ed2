"""What a pack is made of, as small tables: document boundaries and runs of one kind and attempt.

Shape legend: T tokens of a pack, N documents, S runs, K kinds, A attempts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NO_LABEL = -100
"""The label of a token that predicts nothing: the last of a document, or padding."""


@dataclass(frozen=True)
class SpanTable:
    """The documents of a pack and their runs. A padded tail is a document of its own, of kind -1."""

    cu_seqlens: Tensor
    """[N + 1] int32, from 0 to T: where each document begins, and the end."""
    domains: Tensor
    """[N] int32: domain index of each document; 0 for a padded tail."""
    run_ends: Tensor
    """[S] int32, rising: where each run ends. Document boundaries are run boundaries."""
    kinds: Tensor
    """[S] int32 in -1..K-1."""
    attempts: Tensor
    """[S] int32 >= 0."""
    weights: Tensor | None = None
    """[S] float32: the weight of each run's tokens, in place of the scoring rule's; None: the rule's."""

    @classmethod
    def from_runs(cls, runs_S3: Tensor, runs_per_document: Tensor, domains: Tensor) -> SpanTable:
        """The table of documents that follow one another.

        Args:
            runs_S3: [S, 3] integers: length, kind, attempt of each run, document by document. Empty runs are dropped.
            runs_per_document: [N]: how many rows of `runs_S3` each document has.
            domains: [N]: domain index of each document.

        Raises:
            ValueError: the counts do not match, or a document has no token.
        """
        if runs_per_document.shape != domains.shape or int(runs_per_document.sum()) != len(runs_S3):
            raise ValueError(
                f"{len(domains)} domains, {len(runs_per_document)} documents of {int(runs_per_document.sum())} runs "
                f"and {len(runs_S3)} runs do not belong together"
            )
        lengths = runs_S3[:, 0].long()
        run_stops = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        cu_seqlens = run_stops[torch.cat([lengths.new_zeros(1), runs_per_document.long().cumsum(0)])]
        empty = (cu_seqlens.diff() <= 0).nonzero()[:, 0]
        if len(empty):
            raise ValueError(f"document {int(empty[0])} of the pack has no token; leave it out")
        kept = runs_S3[lengths > 0].to(torch.int32)
        return cls(
            cu_seqlens.to(torch.int32),
            domains.to(torch.int32),
            kept[:, 0].cumsum(0).to(torch.int32),
            kept[:, 1].contiguous(),
            kept[:, 2].contiguous(),
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> SpanTable:
        """The table on `device`."""

        def moved(column: Tensor) -> Tensor:
            return column.to(device, non_blocking=non_blocking)

        return SpanTable(
            moved(self.cu_seqlens),
            moved(self.domains),
            moved(self.run_ends),
            moved(self.kinds),
            moved(self.attempts),
            None if self.weights is None else moved(self.weights),
        )


@dataclass(frozen=True)
class ScoringRule:
    """Which tokens are scored, with what weight, and in which group of the statistics."""

    weights_KA: Tensor  # noqa: N815
    """[K, A] float32: the weight of a predicted token of each kind and attempt; later attempts count as the last."""
    monitored_KA: Tensor  # noqa: N815
    """[K, A] bool: scored even where the weight is 0."""
    num_domains: int

    @property
    def num_groups(self) -> int:
        """group = kind + K * (domain + num_domains * min(attempt, A - 1))."""
        return self.weights_KA.numel() * self.num_domains

    def to(self, device: torch.device | str) -> ScoringRule:
        """The rule on `device`."""
        return ScoringRule(self.weights_KA.to(device), self.monitored_KA.to(device), self.num_domains)

    def count(self, table: SpanTable) -> tuple[int, int]:
        """(trained rows, monitored rows) of a pack, from its table on the CPU.

        A run holds as many predicted tokens as it has tokens; one fewer where it begins a document, since nothing
        predicts a first token.
        """
        starts = torch.cat([table.run_ends.new_zeros(1), table.run_ends[:-1]])
        predicted = table.run_ends - starts - torch.isin(starts, table.cu_seqlens).to(torch.int32)
        real = table.kinds >= 0
        attempts = table.attempts[real].long().clamp(max=self.weights_KA.shape[1] - 1)
        kinds, predicted = table.kinds[real].long(), predicted[real]
        weights = self.weights_KA[kinds, attempts] if table.weights is None else table.weights[real]
        trained = weights != 0
        monitored = self.monitored_KA[kinds, attempts] & ~trained
        return int(predicted[trained].sum()), int(predicted[monitored].sum())


@dataclass(frozen=True)
class ExpandedPack:
    """A pack token by token. Label, weight, group and `scored` at t are those of the predicted token t + 1."""

    position_ids: Tensor
    """[T] int64, from 0 in every document."""
    kinds: Tensor
    """[T] int8: the kind of token t itself."""
    labels: Tensor
    """[T] int64; `NO_LABEL` where nothing is predicted."""
    weights: Tensor
    """[T] float32."""
    groups: Tensor
    """[T] int64; -1 where nothing is predicted."""
    scored: Tensor
    """[T] int8: 1 for trained rows (weight not 0), 2 for monitored ones, 0 for the others."""
