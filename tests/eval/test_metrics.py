"""Rates against values worked out by hand."""

import pytest

from ecot.eval.metrics import label_mix, mean_pass_at_k, pass_at_k
from ecot.outcomes import Label
from ecot.rates import pass_rate, wilson_interval


def test_pass_at_k_is_the_chance_that_k_draws_hold_a_success():
    # 5 samples, 2 pass. One of two draws: 1 - (3/5)(2/4) = 0.7; of three: 1 - (3*2*1)/(5*4*3) = 0.9.
    assert pass_at_k(5, 2, 1) == pytest.approx(0.4)
    assert pass_at_k(5, 2, 2) == pytest.approx(0.7)
    assert pass_at_k(5, 2, 3) == pytest.approx(0.9)
    assert pass_at_k(5, 2, 4) == 1.0
    assert pass_at_k(20, 0, 5) == 0.0
    assert mean_pass_at_k([(5, 2), (5, 0)], 2) == pytest.approx(0.35)


def test_pass_at_k_refuses_more_draws_than_samples():
    with pytest.raises(ValueError, match="k must be at most samples"):
        pass_at_k(3, 1, 4)


def test_wilson_interval_matches_published_values():
    # Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3: 81/263, 15/148, 0/20, 1/29.
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_at_the_ends():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(4, 4)
    # p = 1: the lower end is n / (n + z^2).
    assert high == 1.0 and low == pytest.approx(4 / (4 + 1.959964**2), abs=1e-6)
    with pytest.raises(ValueError, match=r"0\.\.trials"):
        wilson_interval(3, 2)


def test_pass_rate_counts_trials():
    rate = pass_rate([True, False, False, False])
    assert (rate.value, rate.successes, rate.trials) == (0.25, 1, 4)
    assert (rate.low, rate.high) == wilson_interval(1, 4)


def test_label_mix_keeps_the_order_of_the_taxonomy():
    labels = [Label.FORMAT_ERROR, Label.PASS, Label.COMPILATION_ERROR, Label.PASS, Label.FORMAT_ERROR]
    assert list(label_mix(labels).items()) == [("PASS", 2), ("COMPILATION_ERROR", 1), ("FORMAT_ERROR", 2)]
    assert label_mix([]) == {}
