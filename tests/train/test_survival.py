"""What happens to a run should move nothing: signals, and gradients that are not finite."""

import json
import os
import subprocess
import sys

import pytest
import torch

from ecot.data_mix.plan import PackPlan
from ecot.train.checkpoint import find_damage, list_checkpoints, read_progress
from ecot.train.exit_status import EXIT_PREEMPTED
from ecot.train.skipping import read_skipped
from ecot.train.statistics import LossStatistics

pytestmark = pytest.mark.xdist_group("training")

SIGNALLED = """
import os, signal
import ecot.train.heldout as heldout
import ecot.train.trainer as trainer
collate, write = heldout.HeldoutScorer._inputs, trainer.EcotTrainer.write_state
scored = []
def signalled_inputs(self, pack, device):
    scored.append(pack)
    if len(scored) == 1 and int(os.environ["RANK"]) == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    print("SCORED", flush=True)
    return collate(self, pack, device)
def signalled_write(self, folder):
    if self.state.global_step == {save_step} and int(os.environ["RANK"]) == 1:
        os.kill(os.getpid(), signal.SIGUSR1)
    write(self, folder)
{patch}
from ecot.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("place", "patch"),
    [
        ("a save", "trainer.EcotTrainer.write_state = signalled_write"),
        ("scoring held-out documents", "heldout.HeldoutScorer._inputs = signalled_inputs"),
    ],
)
def test_a_signal_to_one_rank_in_the_middle_of(finished, new_run, tmp_path, place, patch):
    """A signal in a save lets it finish, and no other follows; scoring is given up at the next pack."""
    run = new_run("signalled")
    run.start_from(finished, "b")
    script = tmp_path / "signalled.py"
    script.write_text(SIGNALLED.format(save_step=10, patch=patch))
    statuses, printed = run.run_script(script, "train.heldout.every_steps=1")
    stopped = 10 if place == "a save" else 9
    assert statuses == [EXIT_PREEMPTED] * 2
    assert f"saved and stopped at step {stopped} on a signal" in printed, printed[-2000:]
    assert run.metrics()[-1]["step"] == stopped
    newest = list_checkpoints(run.paths)[0]
    assert newest.name == f"checkpoint-{stopped}" and find_damage(newest) is None
    assert [row["loss"] for row in run.metrics()] == [row["loss"] for row in finished.metrics()[:stopped]]
    if place == "a save":
        row = run.metrics()[-1]
        assert abs(row["heldout/loss/thinking"] - row["loss/thinking"]) < 0.5, "another sample of the same text"
    else:
        assert printed.count("SCORED") == 2, "one pack each, and no more"
        assert "heldout/loss/thinking" not in run.metrics()[-1]


def test_a_signal_to_the_launcher_saves_and_stops(finished, preempted):
    """That it goes on from there to the very same weights is shown of the run that is killed next: test_training.py."""
    run, status, errors = preempted
    assert status == EXIT_PREEMPTED, errors[-2000:]
    stopped = max(row["step"] for row in run.metrics())
    assert stopped < PackPlan.open(run.paths.plan).num_steps
    assert f"stopped at step {stopped} on a signal" in errors
    newest = list_checkpoints(run.paths)[0]
    assert read_progress(newest).plan_step == stopped and find_damage(newest) is None
    assert run.metrics() == finished.metrics()[:stopped]
    # No terminal: a plain line for every logged row.
    lines = [line for line in errors.splitlines() if line.startswith("train ")]
    assert [line.split("/")[0] for line in lines] == [f"train {row['step']}" for row in run.metrics()]
    assert all(line.isprintable() and " tokens/s/GPU  data wait " in line for line in lines)


def test_a_step_that_is_not_finite_is_skipped_by_all_ranks(finished, new_run, poison, tmp_path):
    """One rank's gradients are infinite. Also that the command runs under torchrun."""
    run = new_run("poisoned")
    plan = PackPlan.open(run.paths.plan)
    script = tmp_path / "poisoned.py"
    script.write_text(poison({4}))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(str(script), *run.command()[3:]),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, timeout=300, env=environment, capture_output=True)
    rows, clean = run.metrics(), finished.metrics()
    assert rows[:4] == clean[:4]
    assert "loss" not in rows[4] and rows[4]["step"] == 5
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in rows[5:])
    assert [row["learning_rate"] for row in rows] == [row["learning_rate"] for row in clean]
    assert rows[-1]["step"] == plan.num_steps
    tokens = plan.tokens_until(5) - plan.tokens_until(4)
    skipped = read_skipped(run.paths)
    assert [(row["step"], row["tokens"]) for row in skipped] == [(5, tokens)]
    assert skipped[0]["documents"] == [list(pack.documents) for pack in plan.packs(4)]
    record = json.loads((run.paths.milestones / "c" / "milestone.json").read_text())
    assert record["counts"]["skipped"] == tokens and record["counts"]["skipped_steps"] == [5]


def test_too_many_skipped_steps_end_the_run_and_name_the_last_good_checkpoint(hopeless):
    """Also where the other rank holds the first half of each pack, which is finite."""
    assert hopeless.statuses == [2, 2]
    assert "step 6: 3 steps had a gradient that is not finite" in hopeless.printed
    assert "the last good checkpoint is" in hopeless.printed and "milestones/a" in hopeless.printed


def test_statistics_forget_a_step_that_does_not_count():
    statistics = LossStatistics(torch.device("cpu"))
    good, bad = torch.ones(192, 5), torch.full((192, 5), torch.nan)
    statistics.add(torch.tensor(2.0), good)
    statistics.finish_step(counts=True)
    statistics.add(torch.tensor(torch.nan), bad)
    statistics.finish_step(counts=False)
    means = statistics.drain(num_ranks=2)
    assert means["loss"] == 1.0 and means["loss/thinking"] == 1.0
    assert statistics.drain(num_ranks=2) == {}
