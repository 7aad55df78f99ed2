"""`sbatch slurm/sft_32b.sh` as it is, on a real Slurm: it ends with the weights of an uninterrupted run, to the bit."""

import os
import random
import shutil
import signal
import time

import pytest
import torch

from ecot.trajectory_io import write_trajectories

pytestmark = [pytest.mark.xdist_group("training"), pytest.mark.timeout(2400)]


MOMENTS = random.SystemRandom()


def assert_same_run(run, reference):
    assert run.metrics() == reference.metrics()
    assert_same_weights(run, reference)


def assert_same_weights(run, reference):
    for name in ("a", "b", "c"):
        weights, expected = run.weights(name), reference.weights(name)
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in expected)


def test_a_job_hands_the_nodes_to_a_cpu_job_for_its_data_and_goes_on_where_a_requeue_found_it(
    slurm, slurm_run, finished
):
    job = slurm_run("requeued")
    shutil.rmtree(job.run.paths.store)
    shutil.rmtree(job.run.paths.plan)
    local = job.run.folder / "local"
    job.submit(ECOT_LOCAL_DIR=str(local)).wait_for_step(3)
    assert slurm.job(job.number)["Restarts"] == "1"
    assert "the nodes go back until a CPU job has made them" in job.log(0, "job.log")
    slurm.call("scontrol", "requeue", job.number)
    end = job.finish()
    assert end["Restarts"] == "2"
    assert all("training on 2 ranks" in job.log(attempt, "job.log") for attempt in (1, 2))
    assert {path.name for path in (local / job.number).iterdir()} == {"store", "plan", ".lock"}
    assert_same_run(job.run, finished)


@pytest.mark.drill
def test_preempted_in_the_middle_of_a_step(slurm_run, finished):
    job = slurm_run("in_step")
    job.submit().wait_for_step(MOMENTS.randint(2, 6))
    time.sleep(MOMENTS.uniform(0, 1))
    job.preempt()
    assert job.finish()["Restarts"] == "1"
    assert "preempted" in job.log(0, "job.log")
    assert "saved and stopped at step" in job.log(0, "rank-0.log")
    assert_same_run(job.run, finished)


@pytest.mark.drill
def test_preempted_in_the_middle_of_a_save(slurm, slurm_run, finished):
    job = slurm_run("in_save")
    being_written = job.run.paths.checkpoints / ".checkpoint-6.tmp"
    job.submit()
    slurm.wait_for(being_written.exists, 500, "a save", every=0.001)
    job.preempt()
    assert job.finish()["Restarts"] == "1"
    assert "preempted" in job.log(0, "job.log")
    assert_same_run(job.run, finished)


@pytest.mark.drill
def test_preempted_in_the_middle_of_an_evaluation(slurm_run, make_trajectory, finished):
    job = slurm_run("in_evaluation")
    heldout = [make_trajectory(number) for number in range(1000, 1400)]
    write_trajectories(job.run.paths.trajectories / "heldout.parquet", heldout)
    # Scored after each step, 400 documents take most of the time.
    job.submit("train.heldout.every_steps=1", "train.heldout.max_documents=400").wait_for_step(2)
    time.sleep(MOMENTS.uniform(0, 1))
    job.preempt()
    assert job.finish()["Restarts"] == "2", "once for the held-out documents, once for the signal"
    assert "preempted" in job.log(1, "job.log")
    assert "heldout/loss/thinking" in job.run.metrics()[-1]
    assert without_heldout(job.run) == without_heldout(finished)
    assert_same_weights(job.run, finished)


def without_heldout(run):
    return [{key: row[key] for key in row if not key.startswith("heldout")} for row in run.metrics()]


@pytest.mark.drill
def test_preempted_while_it_starts(slurm, slurm_run, finished):
    """Before a rank can catch the signal there is nothing to save, and the job comes back all the same."""
    job = slurm_run("in_start").submit()
    slurm.wait_for(lambda: "training on" in job.everything_said(), 300, "the ranks are started")
    time.sleep(MOMENTS.uniform(0, 5))
    job.preempt()
    assert job.finish()["Restarts"] == "1"
    assert_same_run(job.run, finished)


@pytest.mark.drill
def test_a_node_that_is_lost_gives_the_job_back(slurm, slurm_run, finished):
    job = slurm_run("node_lost")
    job.submit().wait_for_step(4)
    slurm.kill_node("n2")
    try:
        slurm.wait_for(lambda: slurm.job(job.number)["Restarts"] == "1", 300, "Slurm misses the node")
    finally:
        slurm.start_node("n2")
    job.finish()
    assert_same_run(job.run, finished)


@pytest.mark.drill
def test_a_node_daemon_that_is_killed_and_comes_back_changes_nothing(slurm, slurm_run, finished):
    """The ranks go on without it; Slurm gives the job back or lets it end, as soon or as late as it notices."""
    job = slurm_run("daemon_killed")
    job.submit().wait_for_step(4)
    slurm.kill_daemon("n2")
    try:
        slurm.wait_for(lambda: "down" in slurm.call("sinfo", "-h", "-n", "n2", "-o", "%T"), 300, "n2 is down")
    finally:
        slurm.start_node("n2")
    job.finish()
    assert_same_run(job.run, finished)


@pytest.mark.drill
def test_a_cancelled_job_stays_cancelled(slurm, slurm_run):
    job = slurm_run("cancelled")
    job.submit().wait_for_step(3)
    slurm.call("scancel", job.number)
    assert slurm.wait_for_end(job.number)["JobState"] == "CANCELLED"
    time.sleep(15)
    assert slurm.job(job.number)["JobState"] == "CANCELLED"
    assert slurm.job(job.number)["Restarts"] == "0"


@pytest.mark.drill
def test_a_rank_that_is_killed_ends_the_step_and_the_job_tries_again(slurm_run, finished):
    job = slurm_run("rank_lost")
    job.submit().wait_for_step(4)
    victim = MOMENTS.choice(job.rank_processes())
    os.kill(victim, signal.SIGKILL)
    assert job.finish()["Restarts"] == "1"
    assert "failed: requeued" in job.log(0, "job.log")
    assert_same_run(job.run, finished)


@pytest.mark.drill
def test_a_hang_leaves_stacks_and_the_job_tries_again(slurm_run, finished):
    job = slurm_run("hang")
    job.submit("train.watchdog_seconds=60").wait_for_step(3)
    os.kill(job.rank_processes()[0], signal.SIGSTOP)
    assert job.finish()["Restarts"] == "1"
    waiting = [log for log in (job.log(0, "rank-0.log"), job.log(0, "rank-1.log")) if "Timeout (0:01:00)!" in log]
    # The stopped rank may write its own, late, when Slurm wakes it up to end it.
    assert waiting and all("most recent call first" in log for log in waiting)
    assert_same_run(job.run, finished)
