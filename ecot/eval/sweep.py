"""The data-scale study: how good is the model after each token budget, everything else equal.

Either one run whose milestones are the points (`milestones`), or a run of its own for each budget (`runs`), whose plan
is a prefix of the largest one's: the same documents in the same packs and steps, held by equal hashes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from ecot.data_mix.plan import PackPlan, PlannedBudget
from ecot.data_mix.prepare import HELDOUT, TRAIN
from ecot.errors import PlanError, TrainingError
from ecot.eval.results import read_results
from ecot.run_paths import RunPaths
from ecot.train.milestones import MILESTONE, milestone_folder, read_milestones


class Mode(StrEnum):
    """What a point of the study is."""

    MILESTONES = "milestones"
    """A milestone of one run, or where `train.milestones.decay_tokens` is set the end of the decay branching off it."""
    RUNS = "runs"
    """The end of a run of its own, with its own warm-up and decay: three times the work, and no doubt left."""


class Stage(StrEnum):
    """What is done, in this order."""

    PREPARE = "prepare"
    TRAIN = "train"
    EXPORT = "export"
    EVALUATE = "evaluate"
    REPORT = "report"


@dataclass(frozen=True)
class Member:
    """One run of the study."""

    name: str
    config: Path
    """Its configuration, written by `write_members`."""
    paths: RunPaths
    points: dict[str, str]
    """Budget to the milestone that stands for it: its own, or the end of the decay that branches off there."""


def members_folder(paths: RunPaths) -> Path:
    """Where the study keeps its configurations, runs and result."""
    return paths.root / "sweep"


def base_config(paths: RunPaths) -> Path:
    """The configuration of the whole run, overrides included."""
    return members_folder(paths) / "config.yaml"


def write_members(values: dict[str, Any], paths: RunPaths, mode: Mode) -> list[Member]:
    """Write the configuration of every run of the study.

    Args:
        values: the resolved configuration, as plain values.
        paths: the folder of the configured run; the others lie below it.
        mode: one run or several.
    """
    folder = members_folder(paths)
    budgets = [budget["name"] for budget in values["data"]["budgets"]]
    if mode is Mode.MILESTONES:
        decays = bool(values["train"]["milestones"]["decay_tokens"])
        points = {name: f"{name}-decayed" if decays and name != budgets[-1] else name for name in budgets}
        members = [Member("milestones", base_config(paths), paths, points)]
    else:
        members = [Member(name, folder / f"{name}.yaml", RunPaths(folder / name), {name: name}) for name in budgets]
    folder.mkdir(parents=True, exist_ok=True)
    configs = {base_config(paths): values | {"run_dir": str(paths.root)}}
    for member in members if mode is Mode.RUNS else ():
        configs[member.config] = _of_budget(values, member) | {"run_dir": str(member.paths.root)}
    for path, content in configs.items():
        _replace(path, yaml.safe_dump(content, sort_keys=False))
    _replace(folder / f"{mode}.txt", "".join(f"{member.name} {member.config}\n" for member in members))
    return members


def _of_budget(values: dict[str, Any], member: Member) -> dict[str, Any]:
    """The configuration that ends with one budget. The smaller budgets stay, since packs never cross their ends;
    warm-up and decay keep their share of the run, and nothing branches off."""
    budgets = values["data"]["budgets"]
    index = [budget["name"] for budget in budgets].index(member.name)
    share = budgets[index]["tokens"] / budgets[-1]["tokens"]
    schedule = dict(values["train"]["schedule"])
    for key in ("warmup_tokens", "decay_tokens"):
        schedule[key] = round(schedule[key] * share)
    return values | {
        "name": f"{values['name']}-{member.name}",
        "data": values["data"] | {"budgets": budgets[: index + 1]},
        "train": values["train"] | {"schedule": schedule, "milestones": {"decay_tokens": 0}},
    }


class Sweep:
    """Runs stages of the study's members; what is done is not done again.

    Args:
        base: the configured run, whose store all members share.
        members: as `write_members` made them.
        tell: shows a line.
    """

    def __init__(self, base: RunPaths, members: Sequence[Member], tell: Callable[[str], None]) -> None:
        self.base = base
        self.members = members
        self.tell = tell

    def run(self, stages: Sequence[Stage]) -> None:
        """Do `stages` for all members.

        Raises:
            TrainingError: a step of the study failed; it is named, and starting again goes on with it.
            PlanError: a member's plan is no prefix of the largest.
        """
        steps = {Stage.TRAIN: self._train, Stage.EXPORT: self._export, Stage.EVALUATE: self._evaluate}
        if Stage.PREPARE in stages:
            self._prepare()
        for member in self.members:
            for stage in stages:
                if stage in steps:
                    steps[stage](member)

    def _prepare(self) -> None:
        """The store and the largest plan first; then the others, from the same store."""
        self._ecot("plan", str(base_config(self.base)))
        for member in self.members:
            if member.paths.root != self.base.root:
                share_store(self.base, member.paths)
                self._ecot("plan", str(member.config))
        check_prefixes(self.base, self.members)

    def _train(self, member: Member) -> None:
        if self._is_trained(member):
            self.tell(f"train {member.name}: done already")
        else:
            self._ecot("train", str(member.config))

    def _is_trained(self, member: Member) -> bool:
        try:
            plan = PackPlan.open(member.paths.plan)
        except PlanError:
            return False
        hashes = {record["name"]: record["plan_hash"] for record in read_milestones(member.paths)}
        return all(hashes.get(name) == plan.hash for name in member.points.values())

    def _export(self, member: Member) -> None:
        for name in member.points.values():
            if is_exported(member.paths, name):
                self.tell(f"export {name}: done already")
            else:
                self._ecot("export", str(member.paths.root), "--milestone", name)

    def _evaluate(self, member: Member) -> None:
        self._ecot("eval", str(member.config))  # which passes over results that still hold

    def _ecot(self, verb: str, *arguments: str) -> None:
        self.tell(f"ecot {verb} {' '.join(arguments)}")
        result = subprocess.run([sys.executable, "-m", "ecot", verb, *arguments], check=False)
        if result.returncode:
            raise TrainingError(
                f"`ecot {verb} {' '.join(arguments)}` ended with status {result.returncode}; the same `ecot sweep` "
                "goes on from here"
            )


def share_store(base: RunPaths, other: RunPaths) -> None:
    """Let the run `other` use the trajectories, tokenizer and documents of `base`, which is prepared."""
    if other.root == base.root:
        return
    links = {other.tokenizer: base.tokenizer, other.trajectories: base.trajectories}
    links |= {other.store / name: base.store / name for name in (TRAIN, HELDOUT)}
    for link, target in links.items():
        if target.exists() and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(target, link.parent))


def is_exported(paths: RunPaths, name: str) -> bool:
    """Whether the export is that of the milestone as it is now."""
    export = paths.export / name / MILESTONE
    return export.is_file() and export.read_bytes() == (milestone_folder(paths, name) / MILESTONE).read_bytes()


def check_prefixes(base: RunPaths, members: Sequence[Member]) -> dict[str, PlannedBudget]:
    """The budgets of the largest plan by name, after comparing every member's with them.

    Raises:
        PlanError: a member would train on another token stream.
    """
    budgets = {budget.name: budget for budget in PackPlan.open(base.plan).budgets}
    for member in members:
        for budget in PackPlan.open(member.paths.plan).budgets:
            wanted = budgets.get(budget.name)
            if wanted is None or (wanted.stream_hash, wanted.last_step) != (budget.stream_hash, budget.last_step):
                raise PlanError(
                    f"{member.paths.plan}: budget {budget.name} is not that of {base.plan}; the data or the packing "
                    "changed in between: `ecot sweep CONFIG --stage prepare`"
                )
    return budgets


def summarise(base: RunPaths, members: Sequence[Member], mode: Mode) -> dict[str, Any]:
    """The points of the study, and the same in `sweep/sweep.json`; a point without a result has none."""
    budgets = check_prefixes(base, members)
    points = []
    for member in members:
        results = {result.milestone: result for result in read_results(member.paths)}
        records = {record["name"]: record for record in read_milestones(member.paths)}
        for name, milestone in member.points.items():
            result = results.get(milestone)
            points.append(
                {
                    "budget": name,
                    "milestone": milestone,
                    "run": str(member.paths.root),
                    "tokens": budgets[name].planned,
                    "steps": budgets[name].last_step,
                    "content_hash": budgets[name].content_hash,
                    "stream_hash": budgets[name].stream_hash,
                    "learning_rate": records[milestone]["learning_rate"] if milestone in records else None,
                    "heldout_loss": result.heldout.means.get("loss") if result else None,
                    "pass_at": result.completions.pass_at if result else None,
                    "tasks": result.completions.tasks if result else None,
                }
            )
    summary = {"mode": str(mode), "points": points}
    _replace(members_folder(base) / "sweep.json", json.dumps(summary, indent=1))
    return summary


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)
