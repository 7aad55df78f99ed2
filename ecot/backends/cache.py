"""A cache of executions: the same task, code and environment are never run twice, by any process."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from ecot.backends.protocol import Backend
from ecot.errors import DataError
from ecot.outcomes import TAXONOMY_VERSION, Domain, Execution, Label, Source, Stage
from ecot.tasks.bundle import Task

_BUSY_SECONDS = 60.0
_SCHEMA = "CREATE TABLE IF NOT EXISTS executions (key TEXT PRIMARY KEY, digest TEXT NOT NULL, row TEXT NOT NULL)"


class ExecutionCache:
    """Executions by content in an SQLite file; several processes may use it at once.

    A row is written in one transaction and carries a digest of itself; a row whose digest is wrong is not served. The
    write-ahead log makes readers and one writer independent of each other. The file must be on a local disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def get(self, key: str) -> Execution | None:
        """The execution under a key, with `seconds` 0; None if there is none or its row is damaged.

        Raises:
            DataError: the file is damaged as a whole.
        """
        with self._connected() as connection:
            found = connection.execute("SELECT digest, row FROM executions WHERE key = ?", (key,)).fetchone()
        if found is None or found[0] != _digest(key, found[1]):
            return None
        return _from_row(found[1])

    def put(self, executions: Mapping[str, Execution]) -> None:
        """Store executions by key, all or none; for a key that is there already the new one counts.

        Raises:
            DataError: the file is damaged as a whole.
        """
        rows = {
            key: json.dumps(asdict(execution), sort_keys=True, default=dict) for key, execution in executions.items()
        }
        values = [(key, _digest(key, row), row) for key, row in rows.items()]
        with self._connected() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO executions VALUES (?, ?, ?)", values)

    def __len__(self) -> int:
        with self._connected() as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM executions").fetchone()
        return int(count)

    def close(self) -> None:
        """Close the file; it opens again when needed."""
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
        self._connection = None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            # A connection must not be used on both sides of a fork.
            if self._connection is None or self._owner != os.getpid():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = _connect(self.path)
                self._owner = os.getpid()
            yield self._connection
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: not a usable cache ({error}); delete it, it will be filled anew") from error


class CachedBackend:
    """A backend that asks its cache first. Exceptions are not cached."""

    def __init__(self, backend: Backend, cache: ExecutionCache) -> None:
        self._backend = backend
        self._cache = cache
        self.name = backend.name
        self.domains: frozenset[Domain] = backend.domains
        self.hits = 0
        """Executions that were served from the cache."""
        self.misses = 0

    @property
    def fingerprint(self) -> str:
        """That of the backend behind, which is part of every key."""
        return self._backend.fingerprint

    async def execute(self, task: Task, code: str) -> Execution:
        """Serve or run one candidate; see `Backend`."""
        (execution,) = await self.execute_many([(task, code)])
        return execution

    async def execute_many(self, jobs: Sequence[tuple[Task, str]]) -> list[Execution]:
        """Serve what is known and run the rest; a candidate that occurs twice runs once. See `Backend`."""
        keys = [execution_key(task, code, self.fingerprint) for task, code in jobs]
        known = {key: execution for key in dict.fromkeys(keys) if (execution := self._cache.get(key)) is not None}
        missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in known}
        self.hits += len(keys) - len(missing)
        self.misses += len(missing)
        fresh = await self._backend.execute_many(list(missing.values()))
        executed = dict(zip(missing, fresh, strict=True))
        self._cache.put(executed)
        results = []
        for key in keys:
            results.append(known[key] if key in known else executed[key])
            # Of several equal jobs one was run; the others cost nothing.
            known[key] = replace(results[-1], seconds=0.0)
        return results


def execution_key(task: Task, code: str, fingerprint: str) -> str:
    """SHA-256 over everything that an outcome depends on."""
    parts = (TAXONOMY_VERSION, task.domain, task.hash, fingerprint, code)
    # Lengths keep the parts apart, whatever they hold.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    with connection:
        connection.execute(_SCHEMA)
    return connection


def _digest(key: str, row: str) -> str:
    return hashlib.sha256(f"{key}\n{row}".encode("utf-8", "surrogatepass")).hexdigest()


def _from_row(row: str) -> Execution:
    values = json.loads(row)
    values["label"] = Label(values["label"])
    values["stage"] = Stage(values["stage"])
    values["source"] = Source(values["source"])
    values["seconds"] = 0.0
    return Execution(**values)
