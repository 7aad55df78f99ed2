"""The threshold of trust: its binomial test, what a task's turns are worth, and how often it errs."""

from fractions import Fraction
from math import comb
from random import Random

import pytest

from ecot.world_model.thresholds import (
    ERROR,
    GRID,
    Answer,
    binomial_tail,
    choose_threshold,
    design_effect,
    task_correlation,
)


def alone(confidence: float, right: int, wrong: int = 0) -> list[Answer]:
    """Turns of one task each."""
    return [Answer(f"{confidence}.{index}", confidence, index >= wrong) for index in range(right + wrong)]


def test_the_tail_is_that_of_the_binomial():
    for trials, errors, rate in (
        (0, 0, 0.05),
        (1, 0, 0.5),
        (7, 3, 0.25),
        (90, 0, 0.05),
        (400, 11, 0.05),
        (30, 30, 0.1),
    ):
        share = Fraction(rate)
        terms = (comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(errors + 1))
        assert binomial_tail(trials, errors, rate) == pytest.approx(float(sum(terms)), rel=1e-10)
    # Each term alone is below the smallest float at first: exp(-5129) at 100000 trials.
    assert 0.4 < binomial_tail(100_000, 5000, 0.05) < 0.6


def test_forty_five_right_turns_show_95_percent():
    # 0.95^45 = 0.0994 is below 0.1; 0.95^44 = 0.1047 is not.
    assert choose_threshold(alone(0.6, right=45), target=0.95) == 0.5
    assert choose_threshold(alone(0.6, right=44), target=0.95) is None
    assert choose_threshold([], target=0.95) is None


def test_the_smallest_threshold_that_passes_is_chosen():
    turns = alone(0.995, right=500) + alone(0.96, right=150, wrong=6) + alone(0.75, right=60, wrong=40)
    # From 0.97 on none is wrong, from 0.8 on 6 of 656, from 0.7 on 46 of 756, which is 6.1%.
    assert choose_threshold(turns, target=0.95) == 0.8
    assert choose_threshold(turns, target=0.99) == 0.97
    assert choose_threshold(turns[::-1], target=0.95) == 0.8


def test_a_model_that_is_wrong_where_it_is_surest_is_not_trusted():
    # From 0.5 on only 10 of 310 are wrong, but the sequence begins at the surest turns and ends there.
    turns = alone(0.995, right=90, wrong=10) + alone(0.6, right=210)
    assert choose_threshold(turns, target=0.95) is None
    assert binomial_tail(310, 10, 0.05) < ERROR


def test_correlation_within_tasks_by_hand():
    # Tasks 4 of 4 and 2 of 4: MSB = 0.5, MSW = 1/6, so r = (1/2 - 1/6) / (1/2 + 3/6) = 1/3.
    turns = [Answer("a", 0.9, True)] * 4 + [Answer("b", 0.9, index < 2) for index in range(4)]
    assert task_correlation(turns) == pytest.approx(1 / 3)
    assert design_effect(turns, 1 / 3) == pytest.approx(2.0)
    # Sizes 4 and 1: the mean size that a turn finds is (16 + 1) / 5.
    assert design_effect(turns[:5], 0.5) == pytest.approx(1 + (3.4 - 1) * 0.5)
    assert task_correlation([Answer("a", 0.9, True)] * 4) == 1.0
    assert task_correlation(alone(0.9, right=5, wrong=5)) == 0.0
    all_or_nothing = [Answer(task, 0.9, task == "a") for task in "ab" for _ in range(6)]
    assert task_correlation(all_or_nothing) == pytest.approx(1.0)


def test_many_turns_of_few_tasks_show_little():
    spread = [Answer(f"t{index % 100}", 0.99, index % 50 != 0) for index in range(1000)]
    assert choose_threshold(spread, target=0.95) is None, "2 of 100 tasks are always wrong: 98 of 100 do not show 0.95"
    mixed = [Answer(f"t{index % 100}", 0.99, index % 50 != index // 100) for index in range(1000)]
    assert choose_threshold(mixed, target=0.95) == 0.5, "the same 20 of 1000 wrong, each in another task"
    assert choose_threshold([Answer("t", 0.99, True)] * 1000, target=0.95) is None, "one task is one observation"


def test_thresholds_that_miss_the_target_are_rarely_chosen():
    """Accuracy equals confidence on a ladder of 0.80 to 0.999; the target 0.95 is really reached from 0.9 on."""
    ladder = (0.8, 0.86, 0.91, 0.955, 0.975, 0.985, 0.999)
    mean = {low: [c for c in ladder if c >= low] for low in GRID}
    reached = {low for low, above in mean.items() if sum(above) / len(above) >= 0.95}
    assert min(reached) == 0.9
    rng = Random(11)
    chosen = []
    for _ in range(50):
        confidences = [rng.choice(ladder) for _ in range(1000)]
        turns = [Answer(str(index), c, rng.random() < c) for index, c in enumerate(confidences)]
        chosen.append(choose_threshold(turns, target=0.95))
    missed = sum(low is not None and low not in reached for low in chosen)
    assert missed / len(chosen) <= ERROR
    assert sum(low in reached for low in chosen) > 40
