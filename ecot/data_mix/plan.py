"""The pack plan: which documents make up which pack of which step, for the whole run and any number of ranks.

`plan.parquet` has a row per pack in order of steps (row = step * P + slot), `plan.json` everything else. The hash
covers all that fixes the token stream.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ecot.data_mix.budgets import Budget, flatten_counts
from ecot.data_mix.config import Count
from ecot.data_mix.groups import DOMAINS, KINDS
from ecot.errors import PlanError

PLAN_JSON, PLAN_PARQUET = "plan.json", "plan.parquet"
COUNT_COLUMNS = len(DOMAINS) * len(KINDS)
"""Per pack, tokens of each domain and kind: column `domain * 4 + kind`."""


@dataclass(frozen=True)
class Pack:
    """Documents that share one micro-batch row."""

    step: int
    slot: int
    """Position in the step; rank r of D takes slots r, r + D, ..."""
    documents: tuple[int, ...]
    """Indices into the training store; empty for a filler pack, which has weight zero."""
    tokens: int

    @property
    def is_filler(self) -> bool:
        """Whether the pack only fills up a budget's last step."""
        return not self.documents


@dataclass(frozen=True)
class PlannedBudget(Budget):
    """A budget with its place among the steps."""

    last_step: int
    """Exclusive: the milestone is reached when so many steps are done."""
    packs: int
    """Packs with documents, from the beginning of the plan."""
    density: float
    """Tokens / capacity of this budget's own packs, fillers aside."""
    stream_hash: str
    """SHA-256 over the digests of the documents in the order of packs and steps, from the beginning of the plan."""


class PackPlan:
    """Read access to a plan.

    Args:
        header: what `plan.json` holds.
        table: what `plan.parquet` holds: `documents` (list<int32>), `tokens` and `repeated` (int32), `cost` (float32)
            and `counts` (list<int32>[24]) per pack.
    """

    def __init__(self, header: dict[str, Any], table: pa.Table) -> None:
        self.header = header
        self.pack_tokens: int = header["pack_tokens"]
        self.packs_per_step: int = header["packs_per_step"]
        self.num_steps: int = header["num_steps"]
        self.hash: str = header["hash"]
        self.store_key: str = header["store_key"]
        self.budgets = tuple(PlannedBudget(**dict(entry, count=Count(entry["count"]))) for entry in header["budgets"])
        documents = table.column("documents").combine_chunks()
        self._documents = documents.values.to_numpy()
        self._offsets = documents.offsets.to_numpy()
        self._tokens = table.column("tokens").to_numpy()
        self._repeated = table.column("repeated").to_numpy()
        self.costs = table.column("cost").to_numpy()
        counts = table.column("counts").combine_chunks()
        self._counts = counts.values.to_numpy().reshape(-1, COUNT_COLUMNS)

    @classmethod
    def open(cls, folder: Path) -> PackPlan:
        """Open the plan in `folder`.

        Raises:
            PlanError: there is none, its files are damaged or of another version, or do not belong together.
        """
        if not (folder / PLAN_JSON).is_file():
            raise PlanError(f"{folder} holds no pack plan; `ecot plan CONFIG` makes it")
        try:
            plan = cls(json.loads((folder / PLAN_JSON).read_text("utf-8")), pq.read_table(folder / PLAN_PARQUET))
            found = plan_hash(plan.header, plan._documents, plan._offsets)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException) as error:
            reason = f"{type(error).__name__}: {error}"
            raise PlanError(
                f"{folder}: the plan is damaged or of another version ({reason}); `ecot plan CONFIG` makes it again"
            ) from error
        if found != plan.hash:
            raise PlanError(f"{folder}: plan.parquet does not belong to plan.json (hash {found[:12]}); plan again")
        return plan

    def packs(self, step: int) -> list[Pack]:
        """The packs of a step, fillers included, in the order in which ranks take them."""
        if not 0 <= step < self.num_steps:
            raise PlanError(f"step {step} is not in the plan's 0..{self.num_steps - 1}")
        return [self._pack(step, slot) for slot in range(self.packs_per_step)]

    def _pack(self, step: int, slot: int) -> Pack:
        row = step * self.packs_per_step + slot
        documents = self._documents[self._offsets[row] : self._offsets[row + 1]]
        return Pack(step, slot, tuple(documents.tolist()), int(self._tokens[row]))

    def check_ranks(self, num_ranks: int) -> None:
        """Refuse a number of data ranks that does not divide the packs of a step.

        Raises:
            PlanError: names the allowed numbers.
        """
        if num_ranks < 1 or self.packs_per_step % num_ranks:
            allowed = [n for n in range(1, self.packs_per_step + 1) if self.packs_per_step % n == 0]
            raise PlanError(
                f"{num_ranks} data ranks do not divide the {self.packs_per_step} packs of a step; allowed: "
                f"{', '.join(map(str, allowed))}; or change data.packing.global_batch_tokens"
            )

    def tokens_until(self, step: int) -> int:
        """Tokens of all documents in the first `step` steps, of every kind."""
        return int(self._cumulative[min(step, self.num_steps)].sum())

    def counts_until(self, step: int) -> dict[str, Any]:
        """Tokens in the first `step` steps: `all`, `supervised`, `by_kind`, `by_domain`, and `tokens` by both.

        `repeated` of all came before in the order of documents (see `Budget`), `unique` did not; at a budget's last
        step they are the budget's.
        """
        repeated = int(self._repeated[: min(step, self.num_steps) * self.packs_per_step].sum(dtype=np.int64))
        row = self._cumulative[min(step, self.num_steps)].reshape(len(DOMAINS), len(KINDS))
        tokens = {
            str(domain): {kind.name.lower(): int(row[index, kind]) for kind in KINDS}
            for index, domain in enumerate(DOMAINS)
            if row[index].any()
        }
        counts = flatten_counts(tokens)
        return {**counts, "repeated": repeated, "unique": counts["all"] - repeated, "tokens": tokens}

    @cached_property
    def _cumulative(self) -> np.ndarray:
        """[steps + 1, 24] tokens per domain and kind before each step."""
        by_step = self._counts.reshape(self.num_steps, self.packs_per_step, COUNT_COLUMNS).sum(axis=1, dtype=np.int64)
        return np.concatenate([np.zeros((1, COUNT_COLUMNS), np.int64), np.cumsum(by_step, axis=0)])


def plan_hash(header: dict[str, Any], documents: np.ndarray, offsets: np.ndarray) -> str:
    """SHA-256 over everything that fixes the token stream: contents, packs and their order."""
    fixed = {name: header[name] for name in ("format", "pack_tokens", "packs_per_step", "num_steps", "pad_id")}
    fixed["budgets"] = [[b["name"], b["stream_hash"], b["last_step"]] for b in header["budgets"]]
    digest = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode())
    digest.update(documents.astype("<i8").tobytes())
    digest.update(offsets.astype("<i8").tobytes())
    return digest.hexdigest()
