"""`slurm/sweep.sh` on a real Slurm: arrays over the budgets, each stage after the one before it."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ecot.data_mix.plan import PackPlan
from ecot.tasks.registry import load_tasks
from ecot.trajectory_io import write_trajectories

pytestmark = [pytest.mark.drill, pytest.mark.xdist_group("training"), pytest.mark.timeout(3000)]

ROOT = Path(__file__).resolve().parents[2]


def test_the_study_runs_to_its_report(slurm, new_run, make_trajectory):
    run = new_run("sweep_jobs")
    task_ids = sorted(load_tasks("builtin:chip_design"))[:4]
    heldout = [dataclasses.replace(make_trajectory(2000 + n), task_id=task_ids[n]) for n in range(4)]
    write_trajectories(run.paths.trajectories / "heldout.parquet", heldout)
    output = f"--output={run.folder}/%x-%A-%a.out"
    settings = {
        "ECOT_VENV": str(Path(sys.executable).parents[1]),
        "ECOT_LOG_DIR": str(run.folder / "logs"),
        "ECOT_CPU_SBATCH": f"--cpus-per-task=1 {output}",
        "ECOT_EVAL_SBATCH": f"--cpus-per-task=1 {output}",
        "OMP_NUM_THREADS": "1",
    }
    evaluation = "eval={tasks: 'builtin:chip_design', backend: icarus, num_tasks: 2, max_new_tokens: 8}"
    command = ["slurm/sweep.sh", "--gres=none", "--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1", output, "--"]
    # Real tasks are longer than what the tiny model trains on.
    context = "model.shape.max_position_embeddings=4096"
    command += [str(run.config), f"run_dir={run.paths.root}", evaluation, context]
    environment = {**os.environ, **slurm.environment, **settings}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    report = re.search(r"report (\d+)", result.stdout)[1]
    end = slurm.wait_for_end(report, 2000)
    said = "\n".join(f"--- {path}\n{path.read_text()[-2000:]}" for path in sorted(run.folder.glob("*.out")))
    assert end["JobState"] == "COMPLETED", said
    points = json.loads((run.paths.root / "sweep" / "sweep.json").read_text())["points"]
    assert [point["budget"] for point in points] == ["a", "b", "c"]
    plan = PackPlan.open(run.paths.plan)
    assert [point["stream_hash"] for point in points] == [budget.stream_hash for budget in plan.budgets]
    losses = [point["heldout_loss"] for point in points]
    assert losses == sorted(losses, reverse=True), "more data, less loss, on data as simple as this"
    assert all(point["tasks"] == 2 for point in points)
