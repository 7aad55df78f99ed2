"""Many trajectories at once, the same file whatever the concurrency and however often the run was killed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from filelock import FileLock

from ecot import outcomes
from ecot.backends.concurrency import run_all
from ecot.backends.protocol import Backend
from ecot.errors import ConfigError, MissingToolError, SandboxError, ToolError
from ecot.progress import Progress, no_progress
from ecot.run_paths import RunPaths
from ecot.synthesis.config import SynthesisConfig
from ecot.synthesis.faults import OPERATORS
from ecot.synthesis.journal import Drawn, Journal
from ecot.synthesis.loop import run_loop
from ecot.synthesis.mechanical.generator import NAME, MechanicalGenerator
from ecot.synthesis.mechanical.plan import Plan, Planner
from ecot.synthesis.memo import MemoBackend
from ecot.synthesis.router import build_prompt
from ecot.synthesis.selection import Selection, select
from ecot.synthesis.slots import Slot, Split, derive_seed, draw_slot, split_tasks
from ecot.synthesis.summary import SynthesisSummary, ToolLosses, summarise
from ecot.tasks.bundle import Task
from ecot.trajectories import Provenance, Trajectory
from ecot.trajectory_io import write_trajectories

JOURNAL = "journal.jsonl"
"""Name of the file of finished trajectories, in the folder of the final files; removed when these are written."""
LOCK = ".synthesis.lock"
"""Held while a run writes into the folder, so that a second one waits and then finds it finished."""
TOOL_TRIES = 3
"""How often a trajectory is drawn before a tool that breaks each time leaves its slot unresolved."""
MAX_UNRESOLVED = 8
"""More trajectories than this lost to a broken tool end the run."""


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
        _check_operators(config)
        self.config = config
        self.folder = paths.trajectories
        self.seed = seed
        self.tasks = tasks
        self.backend = backend
        self.progress = progress
        self.split_ids = split_tasks(config, tasks, seed)
        self.wanted = {Split.TRAIN: config.train_trajectories, Split.HELDOUT: config.heldout_trajectories}
        self.tool_errors: Counter[Split] = Counter()
        self.unresolved: Counter[Split] = Counter()

    async def run(self) -> SynthesisSummary:
        """Draw until both splits are full, then write them."""
        started = time.monotonic()
        identity = {"identity": self.identity()}
        done = self._finished(identity)
        if done is not None:
            return done
        with Journal(self.folder / JOURNAL, identity) as journal:
            resumed = list(journal.drawn.values())
            selections = {split: await self._fill(split, journal) for split in Split}
            drawn = list(journal.drawn.values())
        for split, selection in selections.items():
            write_trajectories(self.path(split), selection.kept)
        summary = summarise(
            selections, drawn, resumed, self._losses(), time.monotonic() - started, self.split_ids, self.wanted
        )
        self._write_summary({**identity, **summary.to_json()})
        if not self.unresolved.total():
            (self.folder / JOURNAL).unlink()
        return summary

    def path(self, split: Split) -> Path:
        """The final file of a split."""
        return self.folder / f"{split}.{self.config.format}"

    def identity(self) -> str:
        """Hash of all that the result depends on; another identity starts anew."""
        config = self.config.model_dump(mode="json", exclude={"concurrency"})
        # Title and tags decide no outcome, so they are not in a task's hash, but how its prompt is worded.
        tasks = {id: [task.hash, task.title, sorted(task.tags)] for id, task in sorted(self.tasks.items())}
        parts: list[Any] = [config, self.seed, tasks]
        parts += [self.backend.fingerprint, outcomes.TAXONOMY_VERSION, _source_hash()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()

    async def _fill(self, split: Split, journal: Journal) -> Selection:
        """Draw slots in waves until enough trajectories of a split can be kept."""
        wanted, ids = self.wanted[split], self.split_ids[split]
        share = self.config.balance.max_label_share
        count = 0
        while True:
            drawn = [journal.drawn[split, i] for i in range(count) if (split, i) in journal.drawn]
            selection = select(drawn, wanted, share)
            missing = wanted - len(selection.kept)
            if missing <= 0 or count >= self.config.max_draws * wanted:
                return selection
            slots = [draw_slot(self.config, ids, self.seed, split, count + i) for i in range(missing)]
            count += missing
            await self._draw_all(slots, journal, split, len(selection.kept))

    async def _draw_all(self, slots: list[Slot], journal: Journal, split: Split, kept: int) -> None:
        gate = asyncio.Semaphore(self.config.concurrency)
        done = kept + sum((slot.split, slot.index) in journal.drawn for slot in slots)

        async def draw(slot: Slot) -> None:
            nonlocal done
            async with gate:
                drawn = await self._draw(slot)
            if drawn is not None:
                journal.append(slot, drawn)
                done += drawn.trajectory is not None
                self.progress(done, self.wanted[split], split)

        self.progress(done, self.wanted[split], split)
        await run_all([draw(slot) for slot in slots if (slot.split, slot.index) not in journal.drawn])

    async def _draw(self, slot: Slot) -> Drawn | None:
        """One trajectory; None if the tool broke each time, in which case a later run tries again."""
        for tries_left in reversed(range(TOOL_TRIES)):
            try:
                return await self._draw_once(slot)
            except (MissingToolError, SandboxError):
                raise
            except ToolError as error:
                self.tool_errors[slot.split] += 1
                if tries_left:
                    continue
                self.unresolved[slot.split] += 1
                if self.unresolved.total() > MAX_UNRESOLVED:
                    raise ToolError(
                        f"{self.unresolved.total()} trajectories lost to tool errors; the last: {error}"
                    ) from error
        return None

    async def _draw_once(self, slot: Slot) -> Drawn:
        """One trajectory, a function of the slot alone: a second try starts from the same seeds."""
        memo = MemoBackend(self.backend)
        task = self.tasks[slot.task_id]
        balance = self.config.balance
        planner = Planner(task, memo, self.config.generator, balance, Random(derive_seed(slot.seed, "plan")))
        plan = await planner.draw(slot.num_faults, slot.may_be_long)
        trajectory = await self._walk(slot, task, plan, memo) if plan is not None else None
        return Drawn(slot.split, slot.index, trajectory, dict(planner.discards), memo.executions, memo.seconds)

    def _losses(self) -> dict[Split, ToolLosses]:
        return {split: ToolLosses(self.tool_errors[split], self.unresolved[split]) for split in Split}

    async def _walk(self, slot: Slot, task: Task, plan: Plan, memo: MemoBackend) -> Trajectory:
        prompt = build_prompt(task, Random(derive_seed(slot.seed, "prompt")))
        generator = MechanicalGenerator(plan, Random(derive_seed(slot.seed, "words")))
        details = {
            "split": str(slot.split),
            "operators": [step.implication.edit.operator for step in plan.steps],
            "implicated_by": [str(step.implication.via) for step in plan.steps],
        }
        provenance = Provenance(NAME, prompt.instruction, slot.seed, details)
        return await run_loop(task, prompt, generator, memo, provenance, self.config.max_corrections)

    def _finished(self, identity: dict[str, str]) -> SynthesisSummary | None:
        """The summary of an earlier run of the same identity, if its files are all there and no slot is open."""
        path = self.folder / "summary.json"
        if not path.is_file() or not all(self.path(split).is_file() for split in Split):
            return None
        row = json.loads(path.read_text("utf-8"))
        if row.pop("identity", None) != identity["identity"]:
            return None
        summary = SynthesisSummary.from_json(row)
        return None if any(split.unresolved for split in summary.splits.values()) else summary

    def _write_summary(self, row: dict[str, Any]) -> None:
        temporary = self.folder / ".summary.json.tmp"
        temporary.write_text(json.dumps(row, indent=2, ensure_ascii=False) + "\n", "utf-8")
        temporary.replace(self.folder / "summary.json")


def _check_operators(config: SynthesisConfig) -> None:
    unknown = sorted(set(config.generator.operators or ()) - set(OPERATORS))
    if unknown:
        raise ConfigError(
            f"key 'synthesis.generator.operators': no such fault operator: {', '.join(unknown)}; "
            f"known: {', '.join(sorted(OPERATORS))}"
        )


def _source_hash() -> str:
    """Hash of this room's source, since wording and operators decide what is written."""
    root = Path(__file__).parent
    content = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content.update(path.relative_to(root).as_posix().encode("utf-8") + b"\0" + path.read_bytes())
    return content.hexdigest()
