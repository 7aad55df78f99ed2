"""Builds a document store shard by shard. A killed build continues from its finished shards; a finished one is reused.

Shards of an unfinished store lie in a hidden folder beside it, each complete or absent, and the store itself appears
by one rename. Its key covers the sources, the tokenizer with its template, and every option that changes a document.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecot.data_mix.config import DataConfig, PastThinking, SourceConfig
from ecot.data_mix.documents import DocumentMaker, NewDocument, Tokenised
from ecot.data_mix.filters import TrajectoryFilter
from ecot.data_mix.ledger import Fate, Ledger, Tally
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.sources import Row, count_rows, hash_file, read_sources
from ecot.data_mix.store import MANIFEST, DocumentStore
from ecot.data_mix.store_writer import save_array, write_shard, write_text
from ecot.data_mix.tokenizer import tokenizer_hash
from ecot.errors import DataError
from ecot.trajectories import Trajectory

FORMAT = "1"
"""Raise when documents of unchanged inputs would change."""
SHARD_ROWS = 2048
BATCH_ROWS = 64
"""Trajectories tokenised at once: bounds memory, and is enough to keep all cores busy."""
KEYS, ACCOUNT, REFUSED = "keys.npy", "account.json", "refused.jsonl"

Progress = Callable[[int, int, str], None]
"""Called with what is done, of how much, and of what."""


@dataclass
class _ShardContent:
    """What one shard will hold, gathered in memory."""

    documents: list[tuple[Row, NewDocument]] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    refused: list[dict[str, Any]] = field(default_factory=list)


class StoreBuilder:
    """Builds the store of one set of sources.

    Args:
        config: the `data` section.
        sources: what to read.
        tokenizer: the run's tokenizer.
        folder: where the store will be; `<folder>.refused.jsonl` beside it lists the refused rows.
        shard_rows: rows of the sources per shard.
    """

    def __init__(
        self,
        config: DataConfig,
        sources: Sequence[SourceConfig],
        tokenizer: Any,
        folder: Path,
        shard_rows: int = SHARD_ROWS,
    ) -> None:
        self.config = config
        self.sources = sources
        self.tokenizer = tokenizer
        self.folder = folder
        self.shard_rows = shard_rows
        self.building = folder.with_name(f".{folder.name}.building")
        self.refused_path = folder.with_name(f"{folder.name}.{REFUSED}")
        self.renderer = Renderer(tokenizer, config.observation_role, config.past_thinking)
        self.maker = DocumentMaker(self.renderer, config.packing.pack_tokens, config.over_long)
        self.key = self._key()

    def build(self, progress: Progress) -> DocumentStore:
        """The store, made or taken as it is when its key matches.

        Raises:
            DataError: a source cannot be read, or too many rows are refused or too much text is lost.
            TemplateError: the chat template loses text.
        """
        if (self.folder / MANIFEST).is_file():
            store = DocumentStore.open(self.folder)
            if store.key == self.key:
                return store
        self._open_building()
        total = sum(count_rows(source.path) for source in self.sources)
        rows = read_sources(self.sources)
        seen: set[bytes] = set()
        names: list[str] = []
        for number in itertools.count():
            part = list(itertools.islice(rows, self.shard_rows))
            if not part:
                break
            name = f"shard-{number:05d}"
            if not (self.building / name).is_dir():
                self._build_shard(name, part, seen)
            else:
                seen.update(key.tobytes() for key in np.load(self.building / name / KEYS))
            names.append(name)
            progress(min(total, number * self.shard_rows + len(part)), total, "tokenise")
        return self._finish(names)

    def _key(self) -> str:
        config = self.config.model_dump(mode="json", include={"observation_role", "past_thinking", "over_long"})
        parts = [
            FORMAT,
            [[hash_file(source.path), source.domains] for source in self.sources],
            tokenizer_hash(self.tokenizer),
            config,
            self.config.filters.model_dump(mode="json"),
            [self.config.packing.pack_tokens, self.config.max_refused, self.config.max_lost],
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _open_building(self) -> None:
        """Keep the shards of an unfinished build of the same key; throw away any other."""
        identity = {"key": self.key, "shard_rows": self.shard_rows}
        mark = self.building / "building.json"
        if mark.is_file() and json.loads(mark.read_text("utf-8")) == identity:
            return
        shutil.rmtree(self.building, ignore_errors=True)
        self.building.mkdir(parents=True)
        write_text(mark, json.dumps(identity))

    def _build_shard(self, name: str, rows: Sequence[Row], seen: set[bytes]) -> None:
        content = _ShardContent()
        before = set(seen)
        trajectory_filter = TrajectoryFilter(self.config.filters, seen)
        for start in range(0, len(rows), BATCH_ROWS):
            self._add_batch(content, rows[start : start + BATCH_ROWS], trajectory_filter)
        temporary = self.building / f"{name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write_shard(temporary, content.documents)
        keys = np.frombuffer(b"".join(sorted(seen - before)), np.uint8).reshape(-1, 16)
        save_array(temporary / KEYS, keys)
        write_text(temporary / ACCOUNT, json.dumps(content.ledger.to_json()))
        write_text(temporary / REFUSED, "".join(json.dumps(entry) + "\n" for entry in content.refused))
        os.replace(temporary, self.building / name)

    def _add_batch(self, content: _ShardContent, rows: Sequence[Row], trajectory_filter: TrajectoryFilter) -> None:
        readable = [row for row in rows if row.trajectory is not None]
        results = iter(self.maker.make([row.trajectory for row in readable if row.trajectory is not None]))
        for row in rows:
            if row.trajectory is None:
                content.ledger.record(Fate.REFUSED, row.domain, Tally(rows=1), "schema")
                content.refused.append({"place": row.place, "reason": row.reason})
                continue
            result = next(results)
            if isinstance(result, DataError):
                content.ledger.record(Fate.REFUSED, row.domain, self._bare_tally(row.trajectory), "rendering")
                content.refused.append({"place": row.place, "reason": f"{row.place}: {result}"})
                continue
            self._account(content, row, row.trajectory, result, trajectory_filter)

    def _account(
        self,
        content: _ShardContent,
        row: Row,
        trajectory: Trajectory,
        result: Tokenised,
        trajectory_filter: TrajectoryFilter,
    ) -> None:
        if not result.documents:
            content.ledger.record(Fate.LEFT_OUT, row.domain, result.lost, "over_long")
            return
        reason = trajectory_filter.reason_against(trajectory)
        if reason is not None:
            content.ledger.record(Fate.LEFT_OUT, row.domain, result.kept, reason)
            return
        content.ledger.record(Fate.KEPT, row.domain, result.kept)
        if result.lost.rows:
            content.ledger.record(Fate.CUT, row.domain, result.lost, "over_long")
        if result.removed_thoughts and self.config.past_thinking is PastThinking.STRIP:
            content.ledger.record(Fate.CUT, row.domain, self._thoughts_tally(trajectory), "stripped_thought")
        content.documents += [(row, document) for document in result.documents]

    def _bare_tally(self, trajectory: Trajectory) -> Tally:
        """Tokens of the bare texts of a trajectory that cannot be rendered."""
        tally = Tally(rows=1)
        for message in trajectory.messages:
            for text in (message.content, message.reasoning_content or ""):
                tokens = len(self.renderer.token_ids(text.encode("utf-8", "replace").decode()))
                tally.tokens += tokens
                tally.supervised += tokens if message.role == "assistant" else 0
        return tally

    def _thoughts_tally(self, trajectory: Trajectory) -> Tally:
        """Tokens of the thoughts before the last."""
        thoughts = [message.reasoning_content for message in trajectory.messages if message.role == "assistant"]
        tokens = sum(len(self.renderer.token_ids(thought)) for thought in thoughts[:-1] if thought)
        return Tally(rows=1, tokens=tokens, supervised=tokens)

    def _finish(self, names: Sequence[str]) -> DocumentStore:
        """Check the account, write the manifest and put the store in its place."""
        ledger = Ledger()
        refused = []
        for name in names:
            ledger.merge(Ledger.from_json(json.loads((self.building / name / ACCOUNT).read_text("utf-8"))))
            refused.append((self.building / name / REFUSED).read_text("utf-8"))
        write_text(self.refused_path, "".join(refused))
        check_refused(ledger, self.config.max_refused, self.refused_path)
        check_lost(ledger, self.config.max_lost, self.config.packing.pack_tokens)
        manifest = {
            "format": FORMAT,
            "key": self.key,
            "shards": list(names),
            "sources": [str(source.path) for source in self.sources],
            "pad_id": self.tokenizer.pad_token_id,
            "ledger": ledger.to_json(),
        }
        write_text(self.building / MANIFEST, json.dumps(manifest, indent=1))
        shutil.rmtree(self.folder, ignore_errors=True)
        os.replace(self.building, self.folder)
        return DocumentStore.open(self.folder)


def check_refused(ledger: Ledger, max_refused: float, sidecar: Path) -> None:
    """Stop when too many rows were refused.

    Raises:
        DataError: says how many, and where the reasons lie.
    """
    refused = ledger.total([Fate.REFUSED]).rows
    if refused > max_refused * ledger.rows_read:
        raise DataError(
            f"{refused} of {ledger.rows_read} rows are refused, more than data.max_refused ({max_refused:g}) allows; "
            f"the reasons are in {sidecar}; mend the rows or raise data.max_refused"
        )


def check_lost(ledger: Ledger, max_lost: float, pack_tokens: int) -> None:
    """Stop when over-long trajectories lose too much.

    Raises:
        DataError: says how much.
    """
    lines = [(entry, tally) for entry, tally in ledger.lines.items() if entry.reason == "over_long"]
    lost = sum(tally.supervised for _, tally in lines)
    whole = lost + ledger.total([Fate.KEPT]).supervised
    if lost > max_lost * whole:
        raise DataError(
            f"trajectories longer than data.packing.pack_tokens ({pack_tokens}) lose {lost} of {whole} supervised "
            f"tokens, more than data.max_lost ({max_lost:g}) allows; raise pack_tokens or data.max_lost"
        )
