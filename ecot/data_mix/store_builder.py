"""Builds a document store shard by shard. A killed build continues from its finished shards; a finished one is reused.

Shards of an unfinished store lie in a hidden folder beside it, each complete or absent, and the store itself appears
by one rename. One key covers what the documents are made from (sources, tokenizer with its template, options), another
also what is kept of them, so that a change of filters tokenises nothing again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from ecot.data_mix.config import DataConfig, SourceConfig
from ecot.data_mix.selection import check_lost, check_refused, select
from ecot.data_mix.shards import ShardMaker, make_in_worker, start_worker
from ecot.data_mix.sources import PART_ROWS, Part, count_rows, describe_format, hash_file, read_parts, source_identity
from ecot.data_mix.store import MANIFEST, DocumentStore
from ecot.data_mix.store_writer import save_array, write_text
from ecot.data_mix.token_texts import whole_decoder
from ecot.data_mix.tokenizer import load_tokenizer, tokenizer_hash
from ecot.errors import DataError
from ecot.progress import Progress

logger = logging.getLogger(__name__)
FORMAT = "8"
"""Raise when documents, their digests, or what filters keep, would change for unchanged inputs."""
PARALLEL_BYTES = 32 << 20
"""Sources smaller than this are tokenised by one process: starting more takes longer than the work."""


class StoreBuilder:
    """Builds the store of one set of sources.

    Args:
        config: the `data` section.
        sources: what to read.
        tokenizer_folder: the run's tokenizer.
        folder: where the store will be; `<folder>.refused.jsonl` beside it lists the refused rows.
        part_rows: rows of a source per shard.
    """

    def __init__(
        self,
        config: DataConfig,
        sources: Sequence[SourceConfig],
        tokenizer_folder: Path,
        folder: Path,
        part_rows: int = PART_ROWS,
    ) -> None:
        self.config = config
        self.sources = sources
        self.tokenizer_folder = tokenizer_folder
        self.tokenizer = load_tokenizer(tokenizer_folder)
        self.folder = folder
        self.part_rows = part_rows
        self.building = folder.with_name(f".{folder.name}.building")
        self.refused_path = folder.with_name(f"{folder.name}.refused.jsonl")
        self._rows_read = 0
        self.documents_key, self.key = self._keys()

    def build(self, progress: Progress) -> DocumentStore:
        """The store, made or taken as it is when its key matches.

        Raises:
            DataError: a source cannot be read, or too many rows are refused or too much text is lost.
            TemplateError: the chat template loses text.
        """
        manifest = self._manifest(self.folder)
        if manifest.get("documents_key") != self.documents_key:
            self._finish(self.building, self._make_shards(progress), progress)
            shutil.rmtree(self.folder, ignore_errors=True)
            os.replace(self.building, self.folder)
        elif manifest["key"] != self.key:
            shards = zip(manifest["shards"], manifest["shard_sources"], strict=True)
            self._finish(self.folder, list(shards), progress)
        store = DocumentStore.open(self.folder)
        self._check(store)
        return store

    def is_built(self) -> bool:
        """Whether the store is there, made from these sources with these options."""
        return self._manifest(self.folder).get("key") == self.key

    def _keys(self) -> tuple[str, str]:
        parts = [
            FORMAT,
            [source_identity(source) for source in self.sources],
            tokenizer_hash(self.tokenizer),
            self.config.model_dump(
                mode="json", include={"form", "observation_role", "past_thinking", "over_long", "thoughts"}
            ),
            self.config.packing.pack_tokens,
        ]
        documents = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        benchmarks = self.config.filters.decontaminate.benchmarks if self.config.filters.decontaminate else ()
        hashes = [hash_file(path) for path in benchmarks if path.exists()]
        names = [source.label for source in self.sources]
        filters = [documents, self.config.filters.model_dump(mode="json"), hashes, names]
        return documents, hashlib.sha256(json.dumps(filters).encode()).hexdigest()

    def _manifest(self, folder: Path) -> dict[str, Any]:
        path = folder / MANIFEST
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}

    def _make_shards(self, progress: Progress) -> list[tuple[str, int]]:
        """Make the shards that are not there yet; the name of each in order, and the number of its source."""
        self._open_building()
        total = sum(count_rows(source) for source in self.sources)
        shards: list[tuple[str, int]] = []

        def missing() -> Iterator[tuple[Part, Path]]:
            for source, part in self._parts():
                name = f"shard-{len(shards):05d}"
                shards.append((name, source))
                self._rows_read += part.num_rows
                if not (self.building / name).is_dir():
                    yield part, self.building / name
                progress(self._rows_read, total, "tokenise")

        workers = self._num_workers()
        if workers == 0:
            maker = ShardMaker(self.config, self.tokenizer)
            for part, folder in missing():
                maker.make(part, folder)
        else:
            self._make_in_processes(missing(), workers)
        return shards

    def _parts(self) -> Iterator[tuple[int, Part]]:
        for index, source in enumerate(self.sources):
            for number, part in enumerate(read_parts(source, self.part_rows)):
                if number == 0:
                    logger.info("%s: %s", source.path, describe_format(part))
                yield index, part

    def _num_workers(self) -> int:
        if self.config.workers is not None:
            return self.config.workers
        files = [file for source in self.sources for file in (source.path, *source.path.rglob("*")) if file.is_file()]
        small = sum(file.stat().st_size for file in files) < PARALLEL_BYTES
        return 0 if small else len(os.sched_getaffinity(0))

    def _make_in_processes(self, parts: Iterator[tuple[Part, Path]], workers: int) -> None:
        """Make shards in processes of their own, a few parts ahead."""
        context = multiprocessing.get_context("spawn")
        arguments = (self.config, self.tokenizer_folder)
        pending: set[Future[None]] = set()
        try:
            with ProcessPoolExecutor(workers, context, start_worker, arguments) as pool:
                for part, folder in parts:
                    pending.add(pool.submit(make_in_worker, part, folder))
                    while len(pending) > workers + 1:
                        finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                        for future in finished:
                            future.result()
                for future in pending:
                    future.result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that tokenises died, most likely for lack of memory; start again to go on from the finished "
                f"shards, with data.workers below {workers}"
            ) from error

    def _open_building(self) -> None:
        """Keep the shards of an unfinished build of the same documents; throw away any other."""
        identity = {"documents_key": self.documents_key, "part_rows": self.part_rows}
        mark = self.building / "building.json"
        if not mark.is_file() or json.loads(mark.read_text("utf-8")) != identity:
            shutil.rmtree(self.building, ignore_errors=True)
            self.building.mkdir(parents=True)
            write_text(mark, json.dumps(identity))
        for abandoned in self.building.glob("*.tmp*"):
            shutil.rmtree(abandoned)

    def _finish(self, folder: Path, shards: Sequence[tuple[str, int]], progress: Progress) -> None:
        """Choose what is kept of the shards in `folder`, check the account and write the manifest."""
        progress(self._rows_read, self._rows_read, "filter")
        selection = select([folder / name for name, _ in shards], self.config.filters, whole_decoder(self.tokenizer))
        write_text(self.refused_path, "".join(json.dumps(entry) + "\n" for entry in selection.refused))
        check_refused(selection.ledger, self.config.max_refused, self.refused_path)
        check_lost(selection.ledger, self.config.max_lost, self.config.packing.pack_tokens)
        kept = f"kept-{self.key[:12]}.npy"
        save_array(folder / kept, np.array(selection.kept, np.int64))
        manifest = {
            "format": FORMAT,
            "key": self.key,
            "documents_key": self.documents_key,
            "shards": [name for name, _ in shards],
            "shard_sources": [source for _, source in shards],
            "source_names": [source.label for source in self.sources],
            "kept": kept,
            "sources": [str(source.path) for source in self.sources],
            "pad_id": self.tokenizer.pad_token_id,
            "ledger": selection.ledger.to_json(),
            "samples": selection.samples,
        }
        write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
        for other in folder.glob("kept-*.npy"):
            if other.name != kept:
                other.unlink()

    def _check(self, store: DocumentStore) -> None:
        """The limits are no part of the keys, so a store that is reused must keep them as well."""
        check_refused(store.ledger, self.config.max_refused, self.refused_path)
        check_lost(store.ledger, self.config.max_lost, self.config.packing.pack_tokens)
