"""`sbatch slurm/sft_32b.sh` as it is, on a real Slurm: it ends with the weights of an uninterrupted run, bit for bit."""

import shutil

import pytest
import torch

pytestmark = pytest.mark.xdist_group("training")


def assert_same_run(run, reference):
    assert run.metrics() == reference.metrics()
    for name in ("a", "b", "c"):
        weights, expected = run.weights(name), reference.weights(name)
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in expected)


def test_a_job_whose_data_is_not_prepared_hands_the_nodes_to_a_cpu_job_and_trains_after_it(slurm_run, finished):
    job = slurm_run("plain")
    shutil.rmtree(job.run.paths.store)
    shutil.rmtree(job.run.paths.plan)
    end = job.submit().finish()
    assert end["Restarts"] == "1"
    assert "the nodes go back until a CPU job has made them" in job.log(0, "job.log")
    assert "training on 2 ranks" in job.log(1, "job.log")
    assert_same_run(job.run, finished)


def test_a_requeued_job_goes_on_where_it_was(slurm, slurm_run, finished):
    job = slurm_run("requeued")
    job.submit().wait_for_step(3)
    slurm.call("scontrol", "requeue", job.number)
    end = job.finish()
    assert end["Restarts"] == "1"
    assert_same_run(job.run, finished)
