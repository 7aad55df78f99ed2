"""Steps hold packs of like cost, every pack once, the same for the same seed."""

import numpy as np
import pytest

from ecot.kernels.packing.bins import Bins, best_fit_decreasing
from ecot.kernels.packing.deal import FILLER, CostModel, deal_by_cost, step_imbalance

COSTS_OF_32B = CostModel.of_transformer(32e9, num_layers=64, attention_width=5120)


def test_cost_is_that_of_the_formula():
    packs = Bins(np.array([2, 0, 1]), np.array([0, 1, 3]))
    costs = CostModel(linear=2.0, quadratic=3.0).of_packs(packs, [10, 20, 30])
    assert costs.tolist() == [2 * 30 + 3 * 900, 2 * 30 + 3 * (100 + 400)]
    assert (COSTS_OF_32B.linear, COSTS_OF_32B.quadratic) == (6 * 32e9, 6 * 64 * 5120)


@pytest.mark.parametrize(("capacity", "mean"), [(32_768, 7300), (65_536, 9000), (131_072, 12_000)])
def test_64_ranks_wait_at_most_two_hundredths(capacity, mean):
    lengths = np.random.default_rng(0).lognormal(np.log(mean) - 0.5, 1.0, 150_000).clip(16, capacity).astype(np.int64)
    packs = best_fit_decreasing(lengths, capacity)
    costs = COSTS_OF_32B.of_packs(packs, lengths)
    steps = deal_by_cost(costs, 64, seed=0)
    full = steps[(steps != FILLER).all(axis=1)]
    at_random = np.random.default_rng(1).permutation(full.ravel()).reshape(full.shape)
    assert step_imbalance(costs, full, 64) <= 1.02 < 1.1 < step_imbalance(costs, at_random, 64)


@pytest.mark.parametrize(("num_packs", "packs_per_step"), [(0, 4), (3, 4), (8, 4), (103, 4), (1000, 7)])
def test_every_pack_is_dealt_once_and_fillers_come_last(num_packs, packs_per_step):
    costs = np.random.default_rng(0).random(num_packs)
    steps = deal_by_cost(costs, packs_per_step, seed=3, buffer_steps=5)
    dealt = steps.ravel()
    assert np.array_equal(np.sort(dealt[dealt != FILLER]), np.arange(num_packs))
    assert steps.shape == (-(-num_packs // packs_per_step), packs_per_step)
    assert (dealt[:num_packs] != FILLER).all()
    for step in steps:
        assert np.all(np.diff(costs[step[step != FILLER]]) <= 0)


def test_the_seed_alone_decides():
    costs = np.random.default_rng(0).random(500)
    assert np.array_equal(deal_by_cost(costs, 8, seed=1), deal_by_cost(costs, 8, seed=1))
    assert not np.array_equal(deal_by_cost(costs, 8, seed=1), deal_by_cost(costs, 8, seed=2))


def test_imbalance_by_hand():
    costs, steps = [4.0, 2.0, 3.0, 1.0], np.array([[0, 1], [2, FILLER]])
    assert step_imbalance(costs, steps, 2) == (4 + 3) / (3 + 1.5)
    assert step_imbalance(costs, steps, 1) == 1
    with pytest.raises(ValueError, match="do not divide"):
        step_imbalance(costs, steps, 3)
    with pytest.raises(ValueError, match="must be positive"):
        deal_by_cost(costs, 0, seed=0)
