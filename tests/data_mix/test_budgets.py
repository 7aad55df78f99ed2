"""Nested budgets: prefixes of one stratified order, with hashes and shares."""

import hashlib

import numpy as np
import pytest

from ecot.data_mix.budgets import document_order, make_budgets
from ecot.data_mix.config import BudgetConfig, Count
from ecot.errors import BudgetError


@pytest.fixture
def corpus():
    """Lengths, domains, counts per kind, repeated tokens and digests of 3,000 documents in three domains."""
    generator = np.random.default_rng(5)
    kinds = generator.integers(1, 400, size=(3000, 4))
    domains = generator.choice([0, 2, 5], p=[0.7, 0.25, 0.05], size=3000)
    return {
        "kind_counts": kinds,
        "domains": domains,
        "repeated": generator.integers(0, 5, size=3000),
        "digests": [hashlib.md5(bytes([i % 256, i // 256])).digest() for i in range(3000)],
    }


def budgets_of(corpus, tokens, count=Count.ALL, seed=1):
    order = document_order(corpus["kind_counts"].sum(axis=1), corpus["domains"], seed)
    configs = [BudgetConfig(name=str(number), tokens=number) for number in tokens]
    return order, make_budgets(configs, count, order, **corpus)


COLUMNS = {Count.ALL: [0, 1, 2, 3], Count.SUPERVISED: [1, 2], Count.THINKING: [1]}


@pytest.mark.parametrize("count", list(Count))
def test_each_budget_is_the_largest_prefix_not_over_it(corpus, count):
    requested = [180_000, 360_000, 540_000]
    order, budgets = budgets_of(corpus, requested, count)
    counted = corpus["kind_counts"][:, COLUMNS[count]].sum(axis=1)
    for budget, tokens in zip(budgets, requested, strict=True):
        held = number = 0
        while held + counted[order[number]] <= tokens:  # the independent way: one document at a time
            held += counted[order[number]]
            number += 1
        assert (budget.documents, budget.planned, budget.requested) == (number, held, tokens)
        assert 0 <= budget.shortfall < counted[order[number]]
        assert sum(sum(row.values()) for row in budget.tokens.values()) == corpus["kind_counts"][order[:number]].sum()
        assert budget.repeated == corpus["repeated"][order[:number]].sum()
        joined = b"".join(corpus["digests"][index] for index in order[:number])
        assert budget.content_hash == hashlib.sha256(joined).hexdigest()


def test_smaller_budgets_do_not_depend_on_larger_ones(corpus):
    _, alone = budgets_of(corpus, [180_000])
    _, together = budgets_of(corpus, [180_000, 540_000])
    assert alone[0] == together[0]
    assert budgets_of(corpus, [180_000], seed=2)[1][0].content_hash != alone[0].content_hash


def test_every_prefix_has_the_domain_shares_of_the_whole(corpus):
    lengths = corpus["kind_counts"].sum(axis=1)
    order = document_order(lengths, corpus["domains"], 3)
    assert sorted(order) == list(range(3000))
    for domain in (0, 2, 5):
        share = lengths[corpus["domains"] == domain].sum() / lengths.sum()
        held = np.cumsum(np.where(corpus["domains"][order] == domain, lengths[order], 0)) / np.cumsum(lengths[order])
        assert np.abs(held[300:] - share).max() < 0.005
    assert (document_order(lengths, corpus["domains"], 4) != order).any()


def test_short_data_is_refused_with_the_missing_tokens(corpus):
    available = int(corpus["kind_counts"].sum())
    with pytest.raises(BudgetError, match=r"1,000 are missing; raise synthesis\.train_trajectories"):
        budgets_of(corpus, [100_000, available + 1000])
    with pytest.raises(BudgetError, match="adds no whole document"):
        budgets_of(corpus, [1])
    assert budgets_of(corpus, [available])[1][0].shortfall == 0
