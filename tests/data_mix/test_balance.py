"""The balance of a plan over a cluster, against ranks that are simulated one pack at a time."""

import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from ecot.cli.main import app
from ecot.data_mix.balance import cluster_balance
from ecot.data_mix.prepare import prepare
from ecot.errors import PlanError


@pytest.fixture
def plan(run_paths, data_config):
    return prepare(data_config(), run_paths, seed=1).plan


@pytest.mark.parametrize(("gpus", "sequence_ranks"), [(1, 1), (2, 1), (4, 1), (4, 2), (8, 2)])
def test_ranks_wait_for_the_dearest_pack_of_each_turn(plan, gpus, sequence_ranks):
    ranks = gpus // sequence_ranks
    ratios, total, even_total = [], 0.0, 0.0
    for step in range(plan.num_steps):
        costs = [plan.costs[step * plan.packs_per_step + pack.slot] for pack in plan.packs(step)]
        by_rank = [costs[rank::ranks] for rank in range(ranks)]
        time = sum(max(turn) for turn in zip(*by_rank, strict=True))
        even = sum(costs) / ranks
        total, even_total = total + time, even_total + even
        if all(costs):
            ratios.append(time / even)
    found = cluster_balance(plan, gpus, sequence_ranks)
    assert (found.data_ranks, found.packs_per_rank) == (ranks, plan.packs_per_step // ranks)
    assert found.mean == pytest.approx(np.mean(ratios), rel=1e-5)
    assert found.worst == pytest.approx(max(ratios), rel=1e-5)
    assert found.overall == pytest.approx(total / even_total, rel=1e-5)
    fillers = [pack for step in range(plan.num_steps) for pack in plan.packs(step) if pack.is_filler]
    assert found.fillers == len(fillers)
    assert ranks > 1 or found.mean == pytest.approx(1)


def test_a_cluster_that_does_not_divide_is_refused(plan):
    with pytest.raises(PlanError, match="6 GPUs do not divide by 4 sequence ranks"):
        cluster_balance(plan, 6, 4)
    with pytest.raises(PlanError, match="3 data ranks do not divide the 4 packs"):
        cluster_balance(plan, 3)


def test_the_command_prints_tokens_and_balance(run_paths, data_config, tmp_path):
    config = {"name": "run", "run_dir": str(run_paths.root), "data": data_config().model_dump(mode="json")}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    runner = CliRunner()
    shown = runner.invoke(app, ["plan", str(tmp_path / "run.yaml"), "--nodes", "2", "--gpus", "2"])
    assert shown.exit_code == 0, shown.output
    result = json.loads(runner.invoke(app, ["plan", str(tmp_path / "run.yaml"), "--gpus", "4", "--json"]).output)
    assert result["cluster"]["data_ranks"] == 4
    for shared in (["train.sequence_ranks=2"], ["--sequence-ranks", "2"]):
        command = ["plan", str(tmp_path / "run.yaml"), "--gpus", "4", "--json", *shared]
        assert json.loads(runner.invoke(app, command).output)["cluster"]["data_ranks"] == 2
    budget = result["plan"]["budgets"][-1]
    for number in (budget["unique"], budget["tokens"]["embedded"]["thinking"], budget["by_kind"]["observation"]):
        assert f"{number:,}" in shown.output
    assert f"{result['cluster']['worst']:.4f}" in shown.output and "4 GPUs: 4 data ranks of 1" in shown.output
