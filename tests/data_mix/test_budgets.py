"""Nested budgets: prefixes of one stratified order, with hashes and shares."""

import hashlib

import numpy as np
import pytest

from ecot.data_mix.budgets import make_budgets
from ecot.data_mix.config import BudgetConfig, Count, MixtureConfig
from ecot.data_mix.mixture import document_order
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


def budgets_of(corpus, tokens, count=Count.ALL, seed=1, mixture=None):
    mixed = document_order(corpus["kind_counts"].sum(axis=1), corpus["domains"], seed, mixture)
    configs = [BudgetConfig(name=str(number), tokens=number) for number in tokens]
    return mixed.documents, make_budgets(configs, count, mixed, **corpus)


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


def shares_of_prefixes(corpus, order, domain):
    """[n] share of a domain's tokens in every prefix."""
    lengths = corpus["kind_counts"].sum(axis=1)[order]
    return np.cumsum(np.where(corpus["domains"][order] == domain, lengths, 0)) / np.cumsum(lengths)


def test_every_prefix_has_the_domain_shares_of_the_whole(corpus):
    lengths = corpus["kind_counts"].sum(axis=1)
    mixed = document_order(lengths, corpus["domains"], 3)
    assert sorted(mixed.documents) == list(range(3000))
    assert mixed.exhausted is None and not mixed.repeats.any()
    for domain, name in ((0, "chip_design"), (2, "embedded"), (5, "general")):
        share = lengths[corpus["domains"] == domain].sum() / lengths.sum()
        assert mixed.shares[name] == pytest.approx(share)
        assert np.abs(shares_of_prefixes(corpus, mixed.documents, domain)[300:] - share).max() < 0.005
    assert (document_order(lengths, corpus["domains"], 4).documents != mixed.documents).any()


def test_a_mixture_holds_in_every_budget_and_ends_with_its_scarcest_domain(corpus):
    lengths = corpus["kind_counts"].sum(axis=1)
    held = {domain: int(lengths[corpus["domains"] == domain].sum()) for domain in (0, 2, 5)}
    mixture = MixtureConfig(weights={"chip_design": 5, "embedded": 3, "general": 2}, max_epochs=3)
    mixed = document_order(lengths, corpus["domains"], 1, mixture)
    for domain, share in ((0, 0.5), (2, 0.3), (5, 0.2)):
        assert np.abs(shares_of_prefixes(corpus, mixed.documents, domain)[300:] - share).max() < 0.005
    assert mixed.exhausted == "general"
    assert lengths[mixed.documents].sum() == pytest.approx(3 * held[5] / 0.2, rel=0.01)
    counts = np.bincount(mixed.documents, minlength=3000)
    assert counts[corpus["domains"] == 5].min() >= 2 and counts[corpus["domains"] == 5].max() == 3
    assert mixed.repeats.sum() == len(mixed.documents) - (counts > 0).sum()
    total = int(3 * held[5] / 0.2)
    _, (budget,) = budgets_of(corpus, [total - 5000], mixture=mixture)
    unique = set(mixed.documents[: budget.documents].tolist())
    again = lengths[mixed.documents[: budget.documents]].sum() - sum(lengths[index] for index in unique)
    assert budget.repeated == again + sum(corpus["repeated"][index] for index in unique)
    with pytest.raises(BudgetError, match=r"until general runs out of documents.*data\.mixture\.max_epochs"):
        budgets_of(corpus, [total + 100_000], mixture=mixture)


def test_temperature_lifts_small_domains(corpus):
    lengths = corpus["kind_counts"].sum(axis=1)
    held = {domain: lengths[corpus["domains"] == domain].sum() for domain in (0, 2, 5)}
    mixed = document_order(lengths, corpus["domains"], 1, MixtureConfig(temperature=2, max_epochs=2))
    expected = held[5] ** 0.5 / sum(tokens**0.5 for tokens in held.values())
    assert mixed.shares["general"] == pytest.approx(expected)
    assert shares_of_prefixes(corpus, mixed.documents, 5)[-1] == pytest.approx(expected, abs=0.005)


def test_a_cap_limits_a_domain(corpus):
    lengths = corpus["kind_counts"].sum(axis=1)
    mixed = document_order(lengths, corpus["domains"], 1, MixtureConfig(max_tokens={"chip_design": 50_000}))
    of_chips = lengths[mixed.documents][corpus["domains"][mixed.documents] == 0].sum()
    assert 49_000 < of_chips <= 50_000
    assert (
        lengths[mixed.documents][corpus["domains"][mixed.documents] == 2].sum() == lengths[corpus["domains"] == 2].sum()
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"chip_design": 1, "embedded": 1}, "says nothing of general"),
        ({"chip_design": 1, "embedded": 1, "general": 1, "cad_3d": 1}, "wants cad_3d, and no document is of it"),
    ],
)
def test_a_mixture_must_fit_the_data(corpus, weights, message):
    with pytest.raises(BudgetError, match=message):
        budgets_of(corpus, [1000], mixture=MixtureConfig(weights=weights))
    _, budgets = budgets_of(
        corpus, [9000], mixture=MixtureConfig(weights={"chip_design": 1, "embedded": 0, "general": 0})
    )
    assert list(budgets[0].tokens) == ["chip_design"]


CHIPS = {"chip_design": 1, "embedded": 1}
NONE_LEFT = {
    "no document": ([], [], {}, r"no document is left.*data\.filters"),
    "a cap below the only domain": ([90, 80], [0, 0], {"max_tokens": {"chip_design": 9}}, r"max_tokens.*chip_design"),
    "a cap below one domain": ([90, 80], [0, 2], {"max_tokens": {"embedded": 9}}, r"max_tokens.*embedded.*80 tokens"),
    "a cap below an unnamed domain": (
        [90, 80, 70],
        [0, 2, 5],
        {"weights": CHIPS, "max_tokens": {"general": 9}},
        r"max_tokens.*general",
    ),
    "a twentieth of an epoch": ([90, 80], [0, 0], {"max_epochs": 0.05}, r"max_epochs.*0\.05.*chip_design"),
}


@pytest.mark.parametrize("name", NONE_LEFT)
def test_no_documents_left_is_said_with_the_remedy(name):
    lengths, domains, mixture, message = NONE_LEFT[name]
    with pytest.raises(BudgetError, match=message):
        document_order(np.array(lengths, int), np.array(domains, int), 1, MixtureConfig(**mixture))


def test_a_domain_left_out_may_be_capped_to_nothing():
    mixture = MixtureConfig(weights={"chip_design": 1, "embedded": 0}, max_tokens={"embedded": 9})
    assert document_order(np.array([90, 80]), np.array([0, 2]), 1, mixture).documents.tolist() == [0]


def test_short_data_is_refused_with_the_missing_tokens(corpus):
    available = int(corpus["kind_counts"].sum())
    with pytest.raises(BudgetError, match=r"1,000 are missing; raise synthesis\.train_trajectories"):
        budgets_of(corpus, [100_000, available + 1000])
    with pytest.raises(BudgetError, match="adds no whole document"):
        budgets_of(corpus, [1])
    assert budgets_of(corpus, [available])[1][0].shortfall == 0
