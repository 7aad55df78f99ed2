"""The data-scale study: one plan, budgets as prefixes with equal hashes, and nothing done twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from ecot.data_mix.plan import PackPlan
from ecot.errors import PlanError
from ecot.eval.sweep import Mode, check_prefixes, summarise, write_members
from ecot.run_paths import RunPaths

pytestmark = pytest.mark.xdist_group("training_alone")  # of what needs no finished run


def ecot_sweep(run, *arguments):
    command = [sys.executable, "-m", "ecot", "sweep", str(run.config), f"run_dir={run.paths.root}", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def prepared(new_run):
    """A study of three runs, prepared, and the bytes of its store before."""
    run = new_run("sweep")
    before = {path.name: path.stat().st_mtime_ns for path in (run.paths.store / "train").rglob("*")}
    ecot_sweep(run, "--stage", "prepare")
    return run, before


def members_of(run, mode=Mode.RUNS):
    values = yaml.safe_load((run.paths.root / "sweep" / "config.yaml").read_text())
    return write_members(values, run.paths, mode)


def test_every_run_trains_on_a_prefix_of_the_largest_plan(prepared):
    run, _ = prepared
    plan = PackPlan.open(run.paths.plan)
    for number, name in enumerate("abc", start=1):
        member = PackPlan.open(run.paths.root / "sweep" / name / "plan")
        assert member.num_steps == plan.budgets[number - 1].last_step
        for step in range(member.num_steps):
            assert [pack.documents for pack in member.packs(step)] == [pack.documents for pack in plan.packs(step)]
        assert [b.stream_hash for b in member.budgets] == [b.stream_hash for b in plan.budgets[:number]]


def test_the_documents_are_tokenised_once(prepared):
    run, before = prepared
    assert {path.name: path.stat().st_mtime_ns for path in (run.paths.store / "train").rglob("*")} == before
    for name in "abc":
        assert (run.paths.root / "sweep" / name / "store" / "train").resolve() == run.paths.store / "train"


def test_warm_up_and_decay_keep_their_share(prepared):
    run, _ = prepared
    for name, share in (("a", 1 / 3), ("b", 2 / 3), ("c", 1)):
        config = yaml.safe_load((run.paths.root / "sweep" / f"{name}.yaml").read_text())
        assert config["train"]["schedule"]["warmup_tokens"] == round(4000 * share)
        assert [budget["name"] for budget in config["data"]["budgets"]] == list("abc"[: "abc".index(name) + 1])


def test_with_decays_at_milestones_the_points_of_one_run_are_finished_models(prepared):
    run, _ = prepared
    values = yaml.safe_load((run.paths.root / "sweep" / "config.yaml").read_text())
    (plain,) = write_members(values, run.paths, Mode.MILESTONES)
    assert plain.points == {"a": "a", "b": "b", "c": "c"}
    schedule = values["train"]["schedule"] | {"type": "wsd", "decay_tokens": 2048}
    values["train"] |= {"schedule": schedule, "milestones": {"decay_tokens": 2048}}
    (member,) = write_members(values, run.paths, Mode.MILESTONES)
    assert member.points == {"a": "a-decayed", "b": "b-decayed", "c": "c"}
    runs = write_members(values, run.paths, Mode.RUNS)
    assert [yaml.safe_load(each.config.read_text())["train"]["milestones"] for each in runs] == 3 * [
        {"decay_tokens": 0}
    ]
    ecot_sweep(run, "--members")  # writes the configurations of the other tests again


def test_a_plan_that_is_no_prefix_is_refused(prepared, new_run):
    run, _ = prepared
    members = members_of(run)
    other = new_run("other_order")
    subprocess.run(
        [*other.command()[:3], "plan", str(other.config), f"run_dir={other.paths.root}", "seed=6"], check=True
    )
    with pytest.raises(PlanError, match="is not that of"):
        check_prefixes(RunPaths(other.paths.root), members)


@pytest.mark.drill
def test_what_is_done_is_not_done_again(prepared):
    run, _ = prepared
    first = ecot_sweep(run, "--only", "a", "--stage", "train", "--stage", "export")
    assert "done already" not in first
    folder = run.paths.root / "sweep" / "a"
    stamps = [path.stat().st_mtime_ns for path in sorted((folder / "export" / "a").iterdir())]
    again = ecot_sweep(run, "--only", "a", "--stage", "train", "--stage", "export")
    assert "train a: done already" in again and "export a: done already" in again
    assert stamps == [path.stat().st_mtime_ns for path in sorted((folder / "export" / "a").iterdir())]
    points = summarise(run.paths, members_of(run), Mode.RUNS)["points"]
    assert [point["budget"] for point in points] == ["a", "b", "c"]
    record = json.loads((folder / "milestones" / "a" / "milestone.json").read_text())
    assert points[0]["content_hash"] == record["content_hash"] and points[0]["tokens"] == record["planned_tokens"]
    assert points[0]["learning_rate"] == record["learning_rate"] and points[1]["learning_rate"] is None


@pytest.mark.drill
def test_at_a_constant_rate_a_run_of_its_own_equals_the_milestone(new_run):
    """With nothing else different, the run that ends at budget a and the one that passes it are the same run."""
    run = new_run("constant")
    schedule = {"type": "constant", "warmup_tokens": 0, "decay_tokens": 0}
    constant = [f"train.schedule.{key}={value}" for key, value in schedule.items()]
    ecot_sweep(run, *constant, "--stage", "prepare")
    for name in "ab":
        ecot_sweep(run, *constant, "--stage", "train", "--only", name)
    weights = []
    for name in "ab":
        folder = type(run)(run.folder)
        folder.paths = RunPaths(run.paths.root / "sweep" / name)
        weights.append(folder.weights("a"))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_the_jobs_are_printed(prepared):
    run, _ = prepared
    command = [sys.executable, "-m", "ecot", "sweep", str(run.config), f"run_dir={run.paths.root}", "--slurm", "print"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "ECOT_VENV": str(Path(sys.executable).parents[1])}
    result = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, timeout=200)
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("sbatch")]
    assert [next(word for word in line.split() if word.startswith("--job-name")) for line in lines] == [
        f"--job-name=sweep-{stage}" for stage in ("prepare", "train", "export", "evaluate", "report")
    ]
    assert all("--array=0-2" in line for line in lines[1:4])
    assert [line.split("--dependency=")[1].split(":")[0] for line in lines[1:]] == [
        "afterok", "aftercorr", "aftercorr", "afterok"
    ]  # fmt: skip
