"""Packs against a slow independent packer, and steps of equal cost."""

import numpy as np
import pytest

from ecot.data_mix.packing import best_fit_decreasing, deal_steps, document_costs, pack_together


def slow_best_fit_decreasing(lengths, capacity):
    """Looks at every open pack for every document; among equally full ones takes the one that last received."""
    packs, spaces, touched = [], [], []
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    for clock, index in enumerate(order):
        fitting = [p for p in range(len(packs)) if spaces[p] >= lengths[index]]
        if fitting:
            best = min(fitting, key=lambda p: (spaces[p], -touched[p]))
        else:
            best = len(packs)
            packs.append([])
            spaces.append(capacity)
            touched.append(0)
        packs[best].append(index)
        spaces[best] -= lengths[index]
        touched[best] = clock
    return packs


@pytest.mark.parametrize("seed", range(12))
def test_packs_equal_those_of_a_slow_packer(seed):
    generator = np.random.default_rng(seed)
    capacity = int(generator.integers(20, 400))
    lengths = generator.integers(1, capacity + 1, size=int(generator.integers(0, 300)))
    packs = best_fit_decreasing(lengths, capacity)
    assert packs == slow_best_fit_decreasing(lengths.tolist(), capacity)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    assert all(lengths[pack].sum() <= capacity for pack in packs)


def test_density_on_reasoning_lengths():
    """Log-normal lengths as in a long reasoning corpus: within 0.2 percent of the lower bound on packs."""
    generator = np.random.default_rng(0)
    lengths = np.minimum(generator.lognormal(np.log(7000), 0.8, 20_000).astype(np.int64) + 1, 32_768)
    packs = best_fit_decreasing(lengths, 32_768)
    assert len(packs) <= 1.002 * np.ceil(lengths.sum() / 32_768)


def test_cost_is_linear_plus_attention():
    assert document_costs(np.array([100, 300, 1000]), 1000).tolist() == [110, 390, 2000]


@pytest.mark.parametrize("seed", range(5))
def test_documents_of_a_trajectory_share_a_pack_as_far_as_they_fit(seed):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 60, size=400)
    trajectories = np.sort(generator.integers(0, 150, size=400))
    packs = pack_together(lengths, trajectories, 100)
    assert sorted(np.concatenate(packs).tolist()) == list(range(400))
    assert all(lengths[pack].sum() <= 100 for pack in packs)
    home = {index: number for number, pack in enumerate(packs) for index in pack.tolist()}
    for trajectory in np.unique(trajectories):
        members = np.nonzero(trajectories == trajectory)[0]
        chunks = [[members[0]]]
        for index in members[1:]:  # cut where the next one would not fit
            if lengths[chunks[-1]].sum() + lengths[index] > 100:
                chunks.append([])
            chunks[-1].append(index)
        assert all(len({home[index] for index in chunk}) == 1 for chunk in chunks)
    alone = pack_together(lengths, np.arange(400), 100)
    assert [pack.tolist() for pack in alone] == best_fit_decreasing(lengths, 100)


def test_steps_hold_packs_of_neighbouring_cost_and_the_last_one_the_cheapest():
    costs = np.random.default_rng(1).permutation(22).astype(float)
    steps = deal_steps(costs, 4, [7, 0])
    assert [len(step) for step in steps] == [4] * 5 + [2]
    assert sorted(index for step in steps for index in step) == list(range(22))
    ranked = sorted((sorted(costs[step]) for step in steps), reverse=True)
    expected = sorted(costs, reverse=True)
    assert [cost for group in ranked for cost in reversed(group)] == expected
    assert sorted(costs[steps[-1]]) == [0, 1]
    assert all(list(costs[step]) == sorted(costs[step], reverse=True) for step in steps)
    assert deal_steps(costs, 4, [7, 0]) == steps != deal_steps(costs, 4, [8, 0])


def test_steps_of_several_domains_get_packs_of_each():
    generator = np.random.default_rng(2)
    costs = generator.normal(1000, 30, 640)
    domains = generator.choice([0, 2, 5], p=[0.5, 0.3, 0.2], size=640).tolist()
    steps = deal_steps(costs, 16, [1], domains)
    plain = deal_steps(costs, 16, [1])
    assert sorted(index for step in steps for index in step) == list(range(640))

    def deviation(dealt):
        return np.mean([abs(np.mean([domains[index] == 0 for index in step]) - 0.5) for step in dealt])

    def imbalance(dealt):
        return np.mean([max(costs[step]) / np.mean(costs[step]) for step in dealt])

    assert deviation(steps) < 0.5 * deviation(plain)
    assert imbalance(steps) < 1.02 and imbalance(plain) < imbalance(steps)
    assert all(list(costs[step]) == sorted(costs[step], reverse=True) for step in steps)


def test_balance_is_given_up_for_steps_of_the_mixtures_shares():
    """Costs that tell the domain: even steps are of one domain, and mixed ones are not even."""
    generator = np.random.default_rng(4)
    domains = generator.choice([0, 1, 2], size=1600)
    costs = 1000 + 100 * domains + generator.normal(0, 5, 1600)
    shares = [np.mean(domains == domain) for domain in range(3)]

    def figures(max_deviation):
        steps = deal_steps(costs.tolist(), 16, [1], domains.tolist(), max_deviation)
        assert sorted(index for step in steps for index in step) == list(range(1600))
        even = np.mean([costs[step].max() / costs[step].mean() for step in steps])
        apart = [max(abs(np.mean(domains[step] == d) - shares[d]) for d in range(3)) for step in steps]
        return even, np.mean(apart)

    even, mixed = figures(1), figures(0.1)
    assert even[0] < 1.02 and even[1] > 0.5
    assert mixed[0] < 1.2 and mixed[1] < 0.05
