"""Nested budgets: prefixes of one stratified order, with hashes and shares."""

import hashlib

import numpy as np
import pytest

from ecot.data_mix.budgets import make_budgets
from ecot.data_mix.config import BudgetConfig, Count, MixtureConfig
from ecot.data_mix.mixture import Corpus, document_order
from ecot.errors import BudgetError


def corpus_of(lengths, domains, sources=None, names=("all",), trajectories=None):
    lengths, domains = np.array(lengths, np.int64), np.array(domains, np.int64)
    sources = np.zeros(len(lengths), np.int64) if sources is None else np.array(sources)
    return Corpus(lengths, domains, sources, names, np.arange(len(lengths)) if trajectories is None else trajectories)


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
    documents = corpus_of(corpus["kind_counts"].sum(axis=1), corpus["domains"])
    mixed = document_order(documents, seed, mixture)
    configs = [BudgetConfig(name=str(number), tokens=number) for number in tokens]
    rest = corpus["kind_counts"], corpus["repeated"], corpus["digests"]
    return mixed.documents, make_budgets(configs, count, mixed, documents, *rest)


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
    mixed = document_order(corpus_of(lengths, corpus["domains"]), 3)
    assert sorted(mixed.documents) == list(range(3000))
    assert mixed.exhausted is None and not mixed.repeats.any()
    for domain, name in ((0, "chip_design"), (2, "embedded"), (5, "general")):
        share = lengths[corpus["domains"] == domain].sum() / lengths.sum()
        assert mixed.shares[name] == pytest.approx(share)
        assert np.abs(shares_of_prefixes(corpus, mixed.documents, domain)[300:] - share).max() < 0.005
    assert (document_order(corpus_of(lengths, corpus["domains"]), 4).documents != mixed.documents).any()


def test_a_mixture_holds_in_every_budget_and_ends_with_its_scarcest_domain(corpus):
    lengths = corpus["kind_counts"].sum(axis=1)
    held = {domain: int(lengths[corpus["domains"] == domain].sum()) for domain in (0, 2, 5)}
    mixture = MixtureConfig(weights={"chip_design": 5, "embedded": 3, "general": 2}, max_epochs=3)
    mixed = document_order(corpus_of(lengths, corpus["domains"]), 1, mixture)
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
    mixed = document_order(corpus_of(lengths, corpus["domains"]), 1, MixtureConfig(temperature=2, max_epochs=2))
    expected = held[5] ** 0.5 / sum(tokens**0.5 for tokens in held.values())
    assert mixed.shares["general"] == pytest.approx(expected)
    assert shares_of_prefixes(corpus, mixed.documents, 5)[-1] == pytest.approx(expected, abs=0.005)


def test_a_cap_limits_a_domain(corpus):
    lengths = corpus["kind_counts"].sum(axis=1)
    mixed = document_order(corpus_of(lengths, corpus["domains"]), 1, MixtureConfig(max_tokens={"chip_design": 50_000}))
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
        document_order(corpus_of(lengths, domains), 1, MixtureConfig(**mixture))


def test_a_domain_left_out_may_be_capped_to_nothing():
    mixture = MixtureConfig(weights={"chip_design": 1, "embedded": 0}, max_tokens={"embedded": 9})
    assert document_order(corpus_of([90, 80], [0, 2]), 1, mixture).documents.tolist() == [0]


@pytest.fixture
def three_sources():
    """ECoT rows of three domains, general replay, and distilled rows of two of the domains: 4,000 documents."""
    generator = np.random.default_rng(7)
    sources = generator.choice([0, 1, 2], p=[0.6, 0.3, 0.1], size=4000)
    domains = np.select([sources == 0, sources == 1], [generator.choice([0, 1, 2], size=4000), 5], 0)
    domains = np.where((sources == 2) & (generator.random(4000) < 0.5), 2, domains)
    return corpus_of(generator.integers(100, 900, size=4000), domains, sources, ("ecot", "replay", "distilled"))


def prefix_shares(values, lengths, order):
    """[n, values] share of the tokens of each value in every prefix."""
    member = values[order][:, None] == np.arange(values.max() + 1)
    return np.cumsum(member * lengths[order][:, None], axis=0) / np.cumsum(lengths[order])[:, None]


def test_sources_have_their_shares_in_every_prefix_and_share_them_among_domains(three_sources):
    weights = {"chip_design": 2, "gpu_optimization": 1, "embedded": 1, "general": 4}
    mixture = MixtureConfig(sources={"ecot": 0.7, "replay": 0.2, "distilled": 0.1}, weights=weights, max_epochs=4)
    mixed = document_order(three_sources, 3, mixture)
    of_sources = prefix_shares(three_sources.sources, three_sources.lengths, mixed.documents)[500:]
    assert np.abs(of_sources - [0.7, 0.2, 0.1]).max() < 0.005
    # Of the ECoT rows half are chip design and a quarter each the others; the distilled rows are split 2 : 1.
    expected = [0.7 / 2 + 0.1 * 2 / 3, 0.7 / 4, 0.7 / 4 + 0.1 / 3, 0, 0, 0.2]
    of_domains = prefix_shares(three_sources.domains, three_sources.lengths, mixed.documents)[500:]
    assert np.abs(of_domains - expected).max() < 0.005
    assert mixed.source_shares == pytest.approx({"ecot": 0.7, "replay": 0.2, "distilled": 0.1})
    assert mixed.shares["general"] == pytest.approx(0.2) and mixed.shares["embedded"] == pytest.approx(expected[2])
    configs = [BudgetConfig(name=str(tokens), tokens=tokens) for tokens in (180_000, 360_000, 540_000)]
    kinds = three_sources.lengths[:, None] * [1, 0, 0, 0]
    digests = [b"d"] * 4000
    for budget in make_budgets(configs, Count.ALL, mixed, three_sources, kinds, np.zeros(4000, int), digests):
        members = mixed.documents[: budget.documents]
        shares = [three_sources.lengths[members][three_sources.sources[members] == s].sum() for s in range(3)]
        assert list(budget.sources.values()) == shares
        assert budget.deviation < 0.005


def test_a_source_may_have_a_cap_and_epochs_of_its_own(three_sources):
    lengths, sources = three_sources.lengths, three_sources.sources
    mixture = MixtureConfig(
        sources={"ecot": 1, "replay": {"weight": 1, "max_epochs": 3, "max_tokens": 20_000}, "distilled": 0}
    )
    mixed = document_order(three_sources, 3, mixture)
    replay = mixed.documents[sources[mixed.documents] == 1]
    assert (sources[mixed.documents] != 2).all() and mixed.exhausted == "general of replay"
    unique, counts = np.unique(replay, return_counts=True)
    assert 19_000 < lengths[unique].sum() <= 20_000 and set(counts) == {3}
    # The first epoch holds each once; later ones have orders of their own.
    size = len(unique)
    epochs = [replay[:size], replay[size : 2 * size], replay[2 * size :]]
    assert all(sorted(epoch) == sorted(unique) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert mixed.repeats[sources[mixed.documents] == 1].tolist() == [False] * size + [True] * 2 * size


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({"sources": {"ecot": 1, "replay": 1}}, "sources says nothing of distilled"),
        (
            {"sources": {"ecot": 1, "replay": 1, "distilled": 0}, "weights": dict(chip_design=1, general=0)},
            "weights says nothing of embedded, gpu_optimization",
        ),
        (
            {
                "sources": {"ecot": 1, "replay": 1, "distilled": 0},
                "weights": dict(chip_design=1, embedded=1, gpu_optimization=1, general=0),
            },
            "leaves out all domains of source replay",
        ),
        ({"sources": {"replay": {"max_tokens": 10}}}, r"sources\.replay\.max_tokens: 10 is below its first document"),
    ],
)
def test_weights_of_sources_must_fit_the_data(three_sources, mixture, message):
    with pytest.raises(BudgetError, match=message):
        document_order(three_sources, 1, MixtureConfig(**mixture))


def test_documents_of_a_trajectory_follow_one_another():
    generator = np.random.default_rng(1)
    trajectories = np.sort(generator.integers(0, 300, size=1000))
    corpus = corpus_of(generator.integers(10, 90, size=1000), trajectories % 2, trajectories=trajectories)
    mixed = document_order(corpus, 4, MixtureConfig(max_epochs=2, temperature=2))
    taken = trajectories[mixed.documents]
    runs = np.split(mixed.documents, np.nonzero(np.diff(taken))[0] + 1)
    assert all((np.diff(run) == 1).all() for run in runs)  # in their own order
    whole = np.bincount(trajectories, minlength=300)
    assert all(len(run) == whole[trajectories[run[0]]] for run in runs)
    seen = set()
    for document, repeat in zip(mixed.documents.tolist(), mixed.repeats.tolist(), strict=True):
        assert repeat == (document in seen)
        seen.add(document)


def test_short_data_is_refused_with_the_missing_tokens(corpus):
    available = int(corpus["kind_counts"].sum())
    with pytest.raises(BudgetError, match=r"1,000 are missing; raise synthesis\.train_trajectories"):
        budgets_of(corpus, [100_000, available + 1000])
    with pytest.raises(BudgetError, match="adds no whole document"):
        budgets_of(corpus, [1])
    assert budgets_of(corpus, [available])[1][0].shortfall == 0
