"""Many trajectories at once, the same file whatever the concurrency and however often the run was killed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from ecot import outcomes
from ecot.backends.concurrency import run_all
from ecot.backends.protocol import Backend
from ecot.errors import ConfigError, EcotError, MissingToolError, SandboxError, ToolError
from ecot.progress import Progress, no_progress
from ecot.run_paths import RunPaths
from ecot.synthesis.config import SynthesisConfig
from ecot.synthesis.journal import Drawn, Journal, read_header
from ecot.synthesis.selection import Selection, select
from ecot.synthesis.slots import Slot, Split, draw_slot, split_tasks
from ecot.synthesis.source import SlotLostError
from ecot.synthesis.sources import make_source
from ecot.synthesis.summary import SynthesisSummary, ToolLosses, summarise
from ecot.tasks.bundle import Task
from ecot.trajectory_io import write_trajectories

JOURNAL = "journal.jsonl"
"""Name of the file of finished trajectories, in the folder of the final files; removed when these are written."""
LOCK = ".synthesis.lock"
"""Held while a run writes into the folder, so that a second one waits and then finds it finished."""
TOOL_TRIES = 3
"""How often a trajectory is drawn before a tool that breaks each time leaves its slot unresolved."""
MAX_UNRESOLVED = 8
"""More trajectories than this, and more than one in a hundred, lost to a broken tool or server end the run."""


def synthesise(
    config: SynthesisConfig,
    paths: RunPaths,
    seed: int,
    tasks: Mapping[str, Task],
    backend: Backend,
    progress: Progress = no_progress,
) -> SynthesisSummary:
    """Write `train`, `heldout` and `summary.json` under `paths.trajectories`.

    A run that was killed goes on where it was; the files are those of an uninterrupted run, bit for bit. Where the tool
    broke on a slot again and again, others take its place, `unresolved` in the summary counts it, and the next run
    tries it once more.

    Raises:
        ConfigError: the tasks do not suit the configuration.
        ToolError: the tool breaks again and again, or is not there.
    """
    engine = Engine(config, paths, seed, tasks, backend, progress)
    engine.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(engine.folder / LOCK):
        return asyncio.run(engine.run())


class Engine:
    """One run of synthesis."""

    def __init__(
        self,
        config: SynthesisConfig,
        paths: RunPaths,
        seed: int,
        tasks: Mapping[str, Task],
        backend: Backend,
        progress: Progress,
    ) -> None:
        self.config = config
        self.folder = paths.trajectories
        self.seed = seed
        self.tasks = tasks
        self.backend = backend
        self.source = make_source(config, tasks, backend)
        self.progress = progress
        self.split_ids = split_tasks(config, tasks, seed)
        self.wanted = {Split.TRAIN: config.train_trajectories, Split.HELDOUT: config.heldout_trajectories}
        self.tool_errors: Counter[Split] = Counter()
        self.unresolved: Counter[Split] = Counter()

    async def run(self) -> SynthesisSummary:
        """Draw until both splits are full, then write them."""
        started = time.monotonic()
        identity = self.identity()
        done = self._finished(identity)
        if done is not None:
            return done
        self._keep_what_was_paid_for(identity)
        try:
            with Journal(self.folder / JOURNAL, {"identity": identity, "costly": self.source.costly}) as journal:
                resumed = list(journal.drawn.values())
                selections = {split: await self._fill(split, journal) for split in Split}
                drawn = list(journal.drawn.values())
        finally:
            await self.source.close()
        for split, selection in selections.items():
            write_trajectories(self.path(split), selection.kept)
        summary = summarise(
            selections, drawn, resumed, self._losses(), time.monotonic() - started, self.split_ids, self.wanted
        )
        self._write_summary({"identity": identity, **summary.to_json()})
        if not self.unresolved.total():
            (self.folder / JOURNAL).unlink()
        return summary

    def path(self, split: Split) -> Path:
        """The final file of a split."""
        return self.folder / f"{split}.{self.config.format}"

    def identity(self) -> str:
        """Hash of all that the result depends on; another identity starts anew."""
        config = self.config.model_dump(mode="json", exclude={"concurrency", "generator", "balance"})
        # Title and tags decide no outcome, so they are not in a task's hash, but how its prompt is worded.
        tasks = {id: [task.hash, task.title, sorted(task.tags)] for id, task in sorted(self.tasks.items())}
        parts: list[Any] = [config, self.config.max_label_share, self.source.identity(), self.seed, tasks]
        parts += [self.backend.fingerprint, outcomes.TAXONOMY_VERSION]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()

    async def _fill(self, split: Split, journal: Journal) -> Selection:
        """Draw slots in waves until enough trajectories of a split can be kept."""
        wanted, ids = self.wanted[split], self.split_ids[split]
        share = self.config.max_label_share
        count = 0
        while True:
            drawn = [journal.drawn[split, i] for i in range(count) if (split, i) in journal.drawn]
            selection = select(drawn, wanted, share)
            missing = wanted - len(selection.kept)
            if missing <= 0 or count >= self.config.max_draws * wanted:
                return selection
            slots = [draw_slot(ids, self.seed, split, count + i) for i in range(missing)]
            count += missing
            await self._draw_all(slots, journal, split, len(selection.kept))

    async def _draw_all(self, slots: list[Slot], journal: Journal, split: Split, kept: int) -> None:
        done = kept + sum((slot.split, slot.index) in journal.drawn for slot in slots)
        open_slots = iter([slot for slot in slots if (slot.split, slot.index) not in journal.drawn])

        async def work() -> None:
            nonlocal done
            for slot in open_slots:
                drawn = await self._draw(slot, len(journal.drawn))
                if drawn is not None:
                    journal.append(slot, drawn)
                    done += drawn.trajectory is not None
                    self.progress(done, self.wanted[split], split)

        self.progress(done, self.wanted[split], split)
        await run_all([work() for _ in range(min(self.config.concurrency, len(slots)))])

    async def _draw(self, slot: Slot, finished: int) -> Drawn | None:
        """One trajectory; None if it was lost to a tool or a server that broke: a later run tries again."""
        tries = TOOL_TRIES
        while tries:
            try:
                return await self.source.draw(slot)
            except (MissingToolError, SandboxError):
                raise
            except SlotLostError as error:
                last: EcotError = error
                break
            except ToolError as error:
                self.tool_errors[slot.split] += 1
                last = error
                tries -= 1
        self.unresolved[slot.split] += 1
        lost = self.unresolved.total()
        if lost > max(MAX_UNRESOLVED, finished / 100):
            raise ToolError(f"{lost} trajectories lost to tools or servers that broke; the last: {last}") from last
        return None

    def _losses(self) -> dict[Split, ToolLosses]:
        return {split: ToolLosses(self.tool_errors[split], self.unresolved[split]) for split in Split}

    def _finished(self, identity: str) -> SynthesisSummary | None:
        """The summary of an earlier run of the same identity, if its files are all there and no slot is open."""
        row = self._summary_row()
        if row is None or not all(self.path(split).is_file() for split in Split):
            return None
        if row.pop("identity", None) != identity:
            return None
        summary = SynthesisSummary.from_json(row)
        return None if any(split.unresolved for split in summary.splits.values()) else summary

    def _keep_what_was_paid_for(self, identity: str) -> None:
        """Refuse to overwrite what a model wrote for another configuration.

        Raises:
            ConfigError: the folder holds such trajectories, finished or in the journal.
        """
        header, summary = read_header(self.folder / JOURNAL), self._summary_row()
        started = header is not None and header.get("costly") and header.get("identity") != identity
        finished = summary is not None and summary.get("usage") and summary.get("identity") != identity
        if started or finished:
            raise ConfigError(
                f"{self.folder} holds trajectories that a model wrote for another configuration (tasks, tools, "
                "prompts, model, sampling, numbers of trajectories); take the old one to go on, choose another 'name' "
                "or 'run_dir' to start anew, or delete the folder"
            )

    def _summary_row(self) -> dict[str, Any] | None:
        path = self.folder / "summary.json"
        if not path.is_file():
            return None
        row: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return row

    def _write_summary(self, row: dict[str, Any]) -> None:
        temporary = self.folder / ".summary.json.tmp"
        temporary.write_text(json.dumps(row, indent=2, ensure_ascii=False) + "\n", "utf-8")
        temporary.replace(self.folder / "summary.json")
