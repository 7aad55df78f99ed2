"""Real runs: two ZeRO-3 ranks as processes, killed, resumed, and compared with other ways to the same loss."""

import json
import math
import subprocess

import pytest
import torch

from ecot.data_mix.plan import PackPlan
from ecot.errors import CheckpointError
from ecot.train.checkpoint import find_checkpoint, list_checkpoints

pytestmark = pytest.mark.xdist_group("training")


def test_training_learns_and_logs_every_step(finished):
    plan = PackPlan.open(finished.paths.plan)
    rows = finished.metrics()
    assert [row["step"] for row in rows] == list(range(1, plan.num_steps + 1))
    assert rows[-1]["tokens"] == plan.budgets[-1].planned
    assert rows[-1]["loss/thinking"] < rows[0]["loss/thinking"] - 1
    # an untrained model guesses uniformly
    vocabulary = json.loads((finished.paths.milestones / "a" / "config.json").read_text())["vocab_size"]
    assert rows[0]["loss"] == pytest.approx(math.log(vocabulary), rel=0.02)


def test_milestones_stand_at_the_ends_of_the_budgets_and_are_not_rotated(finished):
    plan = PackPlan.open(finished.paths.plan)
    for budget in plan.budgets:
        record = json.loads((finished.paths.milestones / budget.name / "milestone.json").read_text())
        assert record["plan_step"] == budget.last_step
        assert record["counts"]["all"] == record["planned_tokens"] == plan.tokens_until(budget.last_step)
        assert 0 <= record["shortfall_tokens"] < plan.pack_tokens
    ordinary = [path.name for path in list_checkpoints(finished.paths) if path.parent == finished.paths.checkpoints]
    assert len(ordinary) == 2


@pytest.mark.drill
def test_finished_training_has_nothing_left_to_do(finished):
    before = finished.paths.metrics.read_bytes()
    finished.train()
    assert finished.paths.metrics.read_bytes() == before


def assert_same_weights(run, reference, context):
    for name in ("b", "c"):
        weights, expected = run.weights(name), reference.weights(name)
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in expected), context


def test_preempted_killed_and_damaged_it_is_bit_for_bit_the_uninterrupted_run(finished, killed, new_run):
    """Stopped by a signal, resumed, killed; its newest checkpoint damaged, resumed from one before."""
    source, step = killed
    run = new_run("damaged", like=source)
    newest, *older = list_checkpoints(run.paths)
    assert older
    victim = next(newest.rglob("*optim_states.pt"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    printed = run.train()
    assert victim.name in printed and "SHA-256" in printed
    assert run.metrics() == finished.metrics(), f"killed at step {step}"
    assert_same_weights(run, finished, f"killed at step {step}")


@pytest.mark.drill
def test_kill_and_resume_is_bit_for_bit_the_uninterrupted_run(finished, killed, new_run):
    """The same with nothing else gone wrong: from the newest checkpoint."""
    source, step = killed
    run = new_run("resumed", like=source)
    run.train()
    assert run.metrics() == finished.metrics(), f"killed at step {step}"
    assert_same_weights(run, finished, f"killed at step {step}")


def test_other_numbers_of_ranks_and_another_layout_continue_the_same_run(finished, shared, new_run):
    """2 that share packs -> 1 with unpacked documents -> 2 ranks, with two parameter groups of different weight decay:
    2 throughout, but for rounding."""
    run = new_run("other_ranks")
    run.start_from(shared[0], "a")
    printed = run.train("train.local_ranks=1", "train.layout=padded")
    assert "was saved by 2 ranks and goes on with 1" in printed
    assert "changed settings:" in printed and "train.sequence_ranks" in printed and "train.layout" in printed
    run.assert_follows(finished, rtol=1e-5)
    run.start_from(run, "b")
    assert "was saved by 1 ranks and goes on with 2" in run.train()
    run.assert_follows(finished, rtol=1e-5)
    for milestone in ("b", "c"):
        run.assert_weights_follow(finished, milestone)


def test_matrices_decay_and_norms_do_not(finished):
    states = finished.optimizer_states("c")
    groups = states["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    steps = [states["state"][index]["step"] for group in groups for index in group["params"]]
    last = PackPlan.open(finished.paths.plan).num_steps
    assert [step.item() for step in steps] == [last] * 2


def test_a_micro_batch_without_supervised_tokens_on_one_rank_was_among_the_steps(finished):
    """The runs above are compared on steps in which one rank's micro-batch is a filler and the other's is not."""
    plan = PackPlan.open(finished.paths.plan)
    assert any(
        plan.packs(step)[2 * turn].is_filler != plan.packs(step)[2 * turn + 1].is_filler
        for step in range(plan.num_steps)
        for turn in range(plan.packs_per_step // 2)
    )


def test_checkpoints_of_another_plan_are_refused(killed):
    with pytest.raises(CheckpointError, match=r"was trained on plan .* another run_dir"):
        find_checkpoint(killed[0].paths, "0" * 64)


@pytest.mark.drill
def test_another_plan_is_refused_by_the_command(killed, new_run):
    run = new_run("replanned", like=killed[0])
    command = run.command("data.packing.global_batch_tokens=1024")
    result = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert result.returncode != 0
    assert "was trained on plan" in result.stderr and "another run_dir" in result.stderr
    assert "Traceback" not in result.stderr
