"""Whether anything has changed since a run was prepared, without reading its data: sizes and times of all files.

The keys of tokenizer, store and plan rest on hashes of contents, and hashing a terabyte takes an hour. So the state of
all files that went in and came out is written down, as `make` and `git` do it; where it is still the same, so are they.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ecot import __version__
from ecot.data_mix.config import DataConfig, SourceConfig
from ecot.data_mix.plan_builder import FORMAT as PLAN_FORMAT
from ecot.data_mix.store_builder import FORMAT as STORE_FORMAT
from ecot.run_paths import RunPaths


def run_stamp(config: DataConfig, sources: Sequence[SourceConfig], paths: RunPaths, seed: int) -> str:
    """The state of a prepared run.

    Args:
        config: the `data` section.
        sources: training and held-out ones, with local paths.
        paths: the run's folder.
        seed: that of the plan.
    """
    inputs = [source.path for source in sources]
    inputs += [config.tokenizer.path] if config.tokenizer.path else []
    inputs += config.filters.decontaminate.benchmarks if config.filters.decontaminate else ()
    outputs = [paths.tokenizer, *paths.store.glob("*/store.json"), paths.store / "summary.json", paths.plan]
    options = json.dumps([__version__, STORE_FORMAT, PLAN_FORMAT, seed, config.model_dump(mode="json")])
    state = {
        "options": hashlib.sha256(options.encode()).hexdigest(),
        "inputs": _states(inputs),
        "outputs": _states(outputs),
    }
    return json.dumps(state, indent=1)


def _states(paths: Iterable[Path]) -> list[list[str | int]]:
    """(name, bytes, nanoseconds, inode) of every file."""
    states: list[list[str | int]] = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                status = file.stat()
                states.append([str(file), status.st_size, status.st_mtime_ns, status.st_ino])
    return states
