"""One part of a source to one shard of a store: everything about its rows that needs no other part.

A shard holds all documents of its rows, also those that a filter leaves out later, and a table with a line per row; so
shards can be made in any order by any number of processes, and filters can change without tokenising again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ecot.data_mix.config import DataConfig, PastThinking
from ecot.data_mix.documents import DocumentMaker, NewDocument, Tokenised, labels_by_attempt
from ecot.data_mix.groups import domain_index
from ecot.data_mix.ledger import Tally
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.sources import Part, Row
from ecot.data_mix.store_writer import write_documents, write_table
from ecot.data_mix.text_keys import normalised_key
from ecot.data_mix.thought_edits import ThoughtEditor, sample_of
from ecot.data_mix.tokenizer import load_tokenizer
from ecot.errors import DataError
from ecot.trajectories import Role, Trajectory

ROWS = "rows.arrow"
ROW_SCHEMA = pa.schema(
    [
        ("place", pa.string()),
        ("trajectory_id", pa.string()),
        ("domain", pa.int8()),
        ("verdict", pa.string()),
        ("problem", pa.string()),
        ("message", pa.string()),
        ("key", pa.binary(16)),
        ("documents", pa.int32()),
        ("tokens", pa.int64()),
        ("supervised", pa.int64()),
        ("lost_documents", pa.int32()),
        ("lost_tokens", pa.int64()),
        ("lost_supervised", pa.int64()),
        ("stripped", pa.int64()),
        ("unanswered", pa.int64()),
        ("labels", pa.list_(pa.string())),
        ("edits", pa.list_(pa.struct([("name", pa.string()), ("tokens", pa.int64()), ("sample", pa.string())]))),
    ]
)
"""A line per row: `domain` -1 when unknown; `problem` empty, or `schema`, `rendering` (refused) or `over_long` (no part
fits); `key` of the normalised text; counts of what the shard holds, of what length cost, of stripped thoughts, and of
messages after the last attempt that are left out; outcomes of the attempts; what was taken out of thoughts."""
BATCH_CHARACTERS = 2_000_000
"""Text tokenised at once: bounds memory, and is enough to keep all threads busy."""


@dataclass
class _Content:
    documents: list[tuple[Row, NewDocument]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


class ShardMaker:
    """Makes shards.

    Args:
        config: the `data` section.
        tokenizer: the run's tokenizer.
    """

    def __init__(self, config: DataConfig, tokenizer: Any) -> None:
        self.config = config
        self.renderer = Renderer(tokenizer, config.observation_role, config.past_thinking)
        self.editor = ThoughtEditor(config.thoughts)
        self.maker = DocumentMaker(self.renderer, config.packing.pack_tokens, config.over_long, config.form)

    def make(self, part: Part, folder: Path) -> None:
        """Write the shard of a part as `folder`; complete or absent.

        Raises:
            TemplateError: the chat template loses text.
        """
        content = _Content()
        for rows in _batches(part.rows()):
            self._add(content, rows)
        temporary = folder.with_name(f"{folder.name}.tmp{os.getpid()}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write_documents(temporary, content.documents)
        write_table(temporary / ROWS, pa.Table.from_pylist(content.rows, ROW_SCHEMA))
        os.replace(temporary, folder)

    def _add(self, content: _Content, unedited: Sequence[Row]) -> None:
        rows, edits_of_rows = self._edit(unedited)
        results = iter(self.maker.make([row.trajectory for row in rows if row.trajectory is not None]))
        for row, edits in zip(rows, edits_of_rows, strict=True):
            if row.trajectory is None:
                content.rows.append(_line(row, "schema", row.reason))
                continue
            result = next(results)
            if isinstance(result, DataError):
                tally = self._bare_tally(row.trajectory)
                content.rows.append(_line(row, "rendering", f"{row.place}: {result}", tally))
                continue
            stripped = self._stripped_tokens(row.trajectory, result)
            line = _line(row, "" if result.documents else "over_long", "", result.kept, result.lost)
            line |= {"stripped": stripped, "unanswered": self._tokens_of(row, result.unanswered), "edits": edits}
            content.rows.append(line)
            content.documents += [(row, document) for document in result.documents]

    def _edit(self, rows: Sequence[Row]) -> tuple[list[Row], list[list[dict[str, Any]]]]:
        """The rows with edited thoughts, and the edits of each as `ROW_SCHEMA` has them."""
        edited: list[Row] = []
        accounts: list[list[dict[str, Any]]] = []
        for row in rows:
            trajectory, edits = self.editor.apply(row.trajectory) if row.trajectory else (None, ())
            edited.append(replace(row, trajectory=trajectory) if edits else row)
            tokens = [sum(len(self.renderer.token_ids(text)) for text in edit.removed) for edit in edits]
            accounts.append(
                [
                    {"name": edit.name, "tokens": count, "sample": sample_of(edit.removed)}
                    for edit, count in zip(edits, tokens, strict=True)
                ]
            )
        return edited, accounts

    def _bare_tally(self, trajectory: Trajectory) -> Tally:
        """Tokens of the bare texts of a trajectory that cannot be rendered."""
        tally = Tally(rows=1)
        for message in trajectory.messages:
            for text in (message.content, message.reasoning_content or ""):
                tokens = len(self.renderer.token_ids(text.encode("utf-8", "replace").decode()))
                tally.tokens += tokens
                tally.supervised += tokens if message.role is Role.ASSISTANT else 0
        return tally

    def _stripped_tokens(self, trajectory: Trajectory, result: Tokenised) -> int:
        """Tokens of the thoughts that `past_thinking: strip` takes out; expanded ones are trained elsewhere."""
        if self.config.past_thinking is not PastThinking.STRIP:
            return 0
        thoughts = [trajectory.messages[index].reasoning_content or "" for index in result.removed_thoughts]
        return sum(len(self.renderer.token_ids(thought)) for thought in thoughts)

    def _tokens_of(self, row: Row, messages: Sequence[int]) -> int:
        assert row.trajectory is not None
        return sum(len(self.renderer.token_ids(row.trajectory.messages[index].content)) for index in messages)


_worker: ShardMaker | None = None
"""The maker of a worker process, made once."""


def start_worker(config: DataConfig, tokenizer_folder: Path) -> None:
    """Initialise a worker process: one thread, since there is a process per core."""
    global _worker
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker = ShardMaker(config, load_tokenizer(tokenizer_folder))


def make_in_worker(part: Part, folder: Path) -> None:
    """`ShardMaker.make` in a worker process."""
    assert _worker is not None
    _worker.make(part, folder)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    characters = 0
    for row in rows:
        batch.append(row)
        if row.trajectory is not None:
            texts = row.trajectory.messages
            characters += sum(len(m.content) + len(m.reasoning_content or "") for m in texts)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _line(row: Row, problem: str, message: str, kept: Tally | None = None, lost: Tally | None = None) -> dict[str, Any]:
    kept, lost = kept or Tally(), lost or Tally()
    trajectory = row.trajectory
    return {
        "place": row.place,
        "trajectory_id": trajectory.id if trajectory else None,
        "domain": domain_index(row.domain) if row.domain else -1,
        "verdict": trajectory.verdict if trajectory else None,
        "problem": problem,
        # Messages quote texts, which may hold lone surrogates.
        "message": message.encode("utf-8", "replace").decode(),
        "key": normalised_key(trajectory) if trajectory else None,
        "documents": kept.documents,
        "tokens": kept.tokens,
        "supervised": kept.supervised,
        "lost_documents": lost.documents,
        "lost_tokens": lost.tokens,
        "lost_supervised": lost.supervised,
        "stripped": 0,
        "unanswered": 0,
        "labels": labels_by_attempt(trajectory) if trajectory else [],
        "edits": [],
    }
