"""The engine on the real tool: unique, balanced, split by task, the same whatever the concurrency or the kills."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest

from ecot.errors import ConfigError, ToolError
from ecot.outcomes import Label
from ecot.progress import no_progress
from ecot.run_paths import RunPaths
from ecot.synthesis.config import SynthesisConfig
from ecot.synthesis.engine import JOURNAL, Engine, synthesise
from ecot.synthesis.summary import SynthesisSummary
from ecot.trajectory_io import read_trajectories

pytestmark = pytest.mark.xdist_group("synthesis_engine")  # one worker, so that the runs are made once

NAMES = ("adder_carry", "edge_detector", "gray_counter", "lfsr", "popcount")
HELDOUT = ("popcount",)
OPTIONS = {"train_trajectories": 16, "heldout_trajectories": 2, "heldout_tasks": HELDOUT, "format": "jsonl"}
SEED = 11

SCRIPT = f"""
import sys
from pathlib import Path
from ecot.backends.registry import make_backend
from ecot.run_paths import RunPaths
from ecot.synthesis.config import SynthesisConfig
from ecot.synthesis.engine import synthesise
from ecot.tasks.registry import load_tasks
tasks = load_tasks("builtin:chip_design")
tasks = {{name: tasks[name] for name in {NAMES!r}}}
config = SynthesisConfig(concurrency=3, **{OPTIONS!r})
backend = make_backend("icarus", workers=2, lint=False, synthesis=False)
synthesise(config, RunPaths(Path(sys.argv[1])), {SEED}, tasks, backend)
"""


@pytest.fixture(scope="module")
def few(tasks):
    return {name: tasks[name] for name in NAMES}


@pytest.fixture(scope="module")
def run(few, icarus, tmp_path_factory):
    """One uninterrupted run: (paths, summary)."""
    paths = RunPaths(tmp_path_factory.mktemp("synthesis"))
    summary = synthesise(SynthesisConfig(concurrency=1, **OPTIONS), paths, SEED, few, icarus)
    return paths, summary


def files(paths):
    return [(paths.trajectories / f"{split}.jsonl").read_bytes() for split in ("train", "heldout")]


def test_trajectories_are_unique_and_split_by_task(run):
    paths, _ = run
    train = list(read_trajectories(paths.trajectories / "train.jsonl"))
    heldout = list(read_trajectories(paths.trajectories / "heldout.jsonl"))
    assert (len(train), len(heldout)) == (16, 2)
    assert {t.task_id for t in heldout} == set(HELDOUT)
    assert {t.task_id for t in train} == set(NAMES) - set(HELDOUT)
    chains = [(t.task_id, *(a.code for a in t.attempts)) for t in (*train, *heldout)]
    assert len(set(chains)) == len(chains)
    assert len({t.id for t in (*train, *heldout)}) == 18


def test_every_trajectory_ends_in_a_real_pass_and_keeps_its_failures(run, few, execute):
    paths, _ = run
    for trajectory in read_trajectories(paths.trajectories / "heldout.jsonl"):
        assert trajectory.verdict is Label.PASS
        assert trajectory.provenance.generator == "mechanical"
        assert len(trajectory.attempts) == 1 + len(trajectory.provenance.details["operators"])
        for attempt in trajectory.attempts:
            again = execute(few[trajectory.task_id], attempt.code)
            assert (again.label, again.diagnostics) == (attempt.label, attempt.diagnostics)


def test_the_first_thinking_tells_of_the_answer_that_follows(run, contradictions):
    paths, _ = run
    for trajectory in read_trajectories(paths.trajectories / "train.jsonl"):
        first = trajectory.attempts[0]
        thinking = trajectory.messages[first.message_index].reasoning_content
        assert contradictions(thinking, first.code) == [], trajectory.id


def test_labels_are_balanced(run):
    paths, summary = run
    failing = Counter(
        a.label for t in read_trajectories(paths.trajectories / "train.jsonl") for a in t.attempts if a.label != "PASS"
    )
    assert failing.total() >= 16
    assert max(failing.values()) <= 0.6 * failing.total()
    assert len(failing) >= 2
    shares = summary.splits["train"].failing_label_shares
    assert shares == {str(label): round(n / failing.total(), 4) for label, n in failing.items()}


def test_the_summary_counts_what_was_written(run):
    paths, summary = run
    rows = list(read_trajectories(paths.trajectories / "train.jsonl"))
    split = summary.splits["train"]
    assert split.attempts == sum(len(row.attempts) for row in rows)
    assert [sum(counts.values()) for counts in split.labels_by_attempt] == [
        sum(len(row.attempts) > k for row in rows) for k in range(max(len(row.attempts) for row in rows))
    ]
    thinking = [m.reasoning_content for row in rows for m in row.messages if m.reasoning_content]
    assert split.thinking.total == sum(len(text) for text in thinking)
    assert split.thinking.longest == max(len(text) for text in thinking)
    assert sum(split.operators.values()) == split.attempts - len(rows)
    assert summary.executions >= sum(len(row.attempts) for row in rows)
    stored = json.loads((paths.trajectories / "summary.json").read_text("utf-8"))
    stored.pop("identity")
    assert SynthesisSummary.from_json(stored) == summary
    assert not (paths.trajectories / JOURNAL).exists()


def test_concurrency_changes_nothing(run, few, icarus, tmp_path):
    paths, _ = run
    other = RunPaths(tmp_path)
    seen = []
    config = SynthesisConfig(concurrency=6, **OPTIONS)
    synthesise(config, other, SEED, few, icarus, lambda *given: seen.append(given))
    assert files(other) == files(paths)
    assert seen[0] == (0, 16, "train")
    assert seen[-1] == (2, 2, "heldout")


def test_another_seed_gives_other_trajectories(run, few, icarus, tmp_path):
    paths, _ = run
    other = RunPaths(tmp_path)
    config = SynthesisConfig(**{**OPTIONS, "train_trajectories": 4, "heldout_trajectories": 0})
    synthesise(config, other, SEED + 1, few, icarus)
    ids = {t.id for t in read_trajectories(other.trajectories / "train.jsonl")}
    assert not ids & {t.id for t in read_trajectories(paths.trajectories / "train.jsonl")}


def test_a_killed_run_goes_on_to_the_same_bytes(run, tmp_path):
    """kill -9 in the middle, twice; the third start finishes."""
    paths, _ = run
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    out = RunPaths(tmp_path / "run")
    journal = out.trajectories / JOURNAL
    for wanted in (4, 10):
        process = subprocess.Popen([sys.executable, str(script), str(out.root)], env={**os.environ})
        deadline = time.monotonic() + 120
        while not (journal.is_file() and journal.read_bytes().count(b"\n") > wanted):
            assert process.poll() is None, "finished before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    # A kill in the middle of a write leaves half a line.
    whole = journal.read_bytes()
    journal.write_bytes(whole[: -len(whole.splitlines()[-1]) // 2])
    subprocess.run([sys.executable, str(script), str(out.root)], check=True, timeout=300)
    assert files(out) == files(paths)
    assert json.loads((out.trajectories / "summary.json").read_text())["resumed"] >= 9


def test_a_finished_run_is_not_repeated_and_a_changed_one_is(run, few, icarus):
    paths, summary = run
    before = files(paths)
    stamps = [(paths.trajectories / f"{s}.jsonl").stat().st_mtime_ns for s in ("train", "heldout")]
    again = synthesise(SynthesisConfig(concurrency=2, **OPTIONS), paths, SEED, few, icarus)
    assert again == summary
    assert [(paths.trajectories / f"{s}.jsonl").stat().st_mtime_ns for s in ("train", "heldout")] == stamps
    engines = [
        Engine(SynthesisConfig(**OPTIONS), paths, seed, few, icarus, no_progress).identity()
        for seed in (SEED, SEED + 1)
    ]
    assert engines[0] != engines[1]
    assert files(paths) == before


def test_parquet_holds_the_same_rows(run, few, icarus, tmp_path):
    paths, _ = run
    out = RunPaths(tmp_path)
    config = SynthesisConfig(**{**OPTIONS, "format": "parquet", "train_trajectories": 6, "heldout_trajectories": 1})
    synthesise(config, out, SEED, few, icarus)
    rows = list(read_trajectories(out.trajectories / "train.parquet"))
    assert rows == list(read_trajectories(paths.trajectories / "train.jsonl"))[:6]


def test_tools_that_break_again_and_again_end_the_run(few, icarus, tmp_path):
    class Breaking:
        name, domains, fingerprint = "breaking", icarus.domains, icarus.fingerprint

        async def execute(self, task, code):
            raise ToolError("the disk is full")

        async def execute_many(self, jobs):
            raise ToolError("the disk is full")

    with pytest.raises(ToolError, match="lost to tools or servers that broke; the last: the disk is full"):
        synthesise(SynthesisConfig(**OPTIONS), RunPaths(tmp_path), SEED, few, Breaking())
    assert not (tmp_path / "trajectories" / "train.jsonl").exists()


class Stumbling:
    """Icarus, but some of its calls fail."""

    name = "stumbling"

    def __init__(self, icarus, failing):
        self.inner, self.failing, self.calls = icarus, failing, 0
        self.domains, self.fingerprint = icarus.domains, icarus.fingerprint

    async def execute(self, task, code):
        self.calls += 1
        if self.calls in self.failing:
            raise ToolError("the tool stumbled")
        return await self.inner.execute(task, code)

    async def execute_many(self, jobs):
        return [await self.execute(task, code) for task, code in jobs]


def test_a_tool_that_stumbles_changes_nothing(run, few, icarus, tmp_path):
    paths, _ = run
    config = SynthesisConfig(concurrency=1, **{**OPTIONS, "train_trajectories": 4, "heldout_trajectories": 0})
    summary = synthesise(config, RunPaths(tmp_path), SEED, few, Stumbling(icarus, {3, 4, 9}))
    split = summary.splits["train"]
    assert (split.tool_errors, split.unresolved, split.trajectories, split.shortfall) == (3, 0, 4, 0)
    rows = (tmp_path / "trajectories" / "train.jsonl").read_bytes().splitlines()
    assert rows == files(paths)[0].splitlines()[:4]


def test_a_slot_given_up_is_tried_again_by_the_next_run(run, few, icarus, tmp_path):
    paths, _ = run
    config = SynthesisConfig(concurrency=1, **{**OPTIONS, "train_trajectories": 4, "heldout_trajectories": 0})
    first = synthesise(config, RunPaths(tmp_path), SEED, few, Stumbling(icarus, {1, 2, 3})).splits["train"]
    assert (first.tool_errors, first.unresolved, first.trajectories) == (3, 1, 4)
    wanted = files(paths)[0].splitlines()[:4]
    written = tmp_path / "trajectories" / "train.jsonl"
    assert written.read_bytes().splitlines()[:3] == wanted[1:]
    second = synthesise(config, RunPaths(tmp_path), SEED, few, icarus)
    assert second.resumed == 4 and second.splits["train"].unresolved == 0
    assert written.read_bytes().splitlines() == wanted
    assert not (tmp_path / "trajectories" / JOURNAL).exists()


def test_a_split_that_cannot_be_filled_tells_its_shortfall(few, icarus, tmp_path):
    options = {**OPTIONS, "train_trajectories": 0, "heldout_trajectories": 4, "max_draws": 2}
    config = SynthesisConfig(**options, balance={"first_pass_share": 0.999}, generator={"variants": False})
    split = synthesise(config, RunPaths(tmp_path), SEED, few, icarus).splits["heldout"]
    assert split.trajectories < 4 and split.shortfall == 4 - split.trajectories
    assert split.refused["duplicate"] >= 4


def test_two_processes_on_one_run_do_it_once(run, tmp_path):
    paths, _ = run
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    out = RunPaths(tmp_path / "run")
    both = [subprocess.Popen([sys.executable, str(script), str(out.root)]) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    assert files(out) == files(paths)
    assert json.loads((out.trajectories / "summary.json").read_text())["resumed"] == 0


def test_what_words_the_prompt_belongs_to_the_identity(few, icarus, tmp_path):
    def identity(**changes):
        tasks = {**few, "lfsr": replace(few["lfsr"], **changes)}
        return Engine(SynthesisConfig(**OPTIONS), RunPaths(tmp_path), SEED, tasks, icarus, no_progress).identity()

    assert len({identity(), identity(title="Another title"), identity(tags=("memory",))}) == 3
    assert identity() == identity(difficulty="hard")


def test_unknown_heldout_tasks_are_refused(few, icarus, tmp_path):
    config = SynthesisConfig(**{**OPTIONS, "heldout_tasks": ("nothing",)})
    with pytest.raises(ConfigError, match=r"heldout_tasks.*no such task: nothing; known: adder_carry"):
        synthesise(config, RunPaths(tmp_path), SEED, few, icarus)


def test_unknown_operators_are_refused(few, icarus, tmp_path):
    config = SynthesisConfig(**OPTIONS, generator={"operators": ("drop_end", "nonsense")})
    with pytest.raises(ConfigError, match=r"generator.operators.*no such fault operator: nonsense; known: bad_literal"):
        synthesise(config, RunPaths(tmp_path), SEED, few, icarus)
