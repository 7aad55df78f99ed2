"""Calibration error, Brier score and risk against coverage, against values worked out by hand or by brute force."""

from itertools import permutations
from random import Random

import pytest

from ecot.outcomes import Domain, Label
from ecot.world_model.judged import Judged, likeliest
from ecot.world_model.reliability import (
    NUM_POINTS,
    ReliabilityBin,
    RiskPoint,
    brier_score,
    expected_calibration_error,
    reliability_table,
    risk_coverage,
)


def test_bins_hold_equally_many_turns():
    confidences = [0.99, 0.5, 0.9, 0.6, 0.95, 0.7]
    correct = [True, False, False, True, True, True]
    table = reliability_table(confidences, correct, bins=3)
    assert [(row.lowest, row.highest, row.turns, row.accuracy) for row in table] == [
        (0.5, 0.6, 2, 0.5),
        (0.7, 0.9, 2, 0.5),
        (0.95, 0.99, 2, 1.0),
    ]
    assert [row.confidence for row in table] == pytest.approx([0.55, 0.8, 0.97])
    # (|0.55 - 0.5| + |0.8 - 0.5| + |0.97 - 1|) / 3
    assert expected_calibration_error(table) == pytest.approx(0.38 / 3)


def test_fifteen_bins_share_a_crowd_near_one_evenly():
    confidences = [1 - 0.0001 * index for index in range(3000)]
    table = reliability_table(confidences, [True] * 3000)
    assert [row.turns for row in table] == [200] * 15


def test_even_confidences_are_never_parted_so_order_does_not_matter():
    confidences = [0.8] * 50 + [0.9] * 10
    correct = [True] * 40 + [False] * 10 + [True] * 9 + [False]
    table = reliability_table(confidences, correct)
    assert table == [
        ReliabilityBin(0.8, 0.8, 50, pytest.approx(0.8), 0.8),
        ReliabilityBin(0.9, 0.9, 10, pytest.approx(0.9), 0.9),
    ]
    assert expected_calibration_error(table) == pytest.approx(0.0, abs=1e-12)
    order = list(range(60))
    Random(1).shuffle(order)
    assert reliability_table([confidences[i] for i in order], [correct[i] for i in order]) == table


def test_brier_score_by_hand():
    def turn(real: Label, **probabilities: float) -> Judged:
        shares = {Label(name): value for name, value in probabilities.items()}
        return Judged("t", Domain.GENERAL, real, likeliest(shares), shares)

    # 0.3^2 + 0.2^2 + 0.1^2 = 0.14; a label without a probability has 0: 1 + 1 = 2.
    assert brier_score([turn(Label.PASS, PASS=0.7, TIMEOUT=0.2, MEMORY_FAULT=0.1)]) == pytest.approx(0.14)
    assert brier_score([turn(Label.PASS, TIMEOUT=1.0)]) == 2.0
    both = [turn(Label.PASS, PASS=0.7, TIMEOUT=0.2, MEMORY_FAULT=0.1), turn(Label.PASS, TIMEOUT=1.0)]
    assert brier_score(both) == pytest.approx(1.07)


def test_risk_rises_with_coverage_where_confidence_orders_well():
    curve = risk_coverage([0.9, 0.6, 0.8, 0.7], [True, False, True, True])
    assert curve.points == (
        RiskPoint(0.9, 0.25, 0.0),
        RiskPoint(0.8, 0.5, 0.0),
        RiskPoint(0.7, 0.75, 0.0),
        RiskPoint(0.6, 1.0, 0.25),
    )
    assert curve.aurc == pytest.approx(0.25 / 4)
    assert curve.answerable_95 == 0.75


def test_the_area_is_the_mean_over_orders_of_even_turns():
    confidences = [0.9, 0.8, 0.8, 0.8, 0.5]
    correct = [False, True, False, True, True]
    areas = []
    for order in permutations([1, 2, 3]):
        wrong, area = 0, 0.0
        for rank, index in enumerate([0, *order, 4], start=1):
            wrong += not correct[index]
            area += wrong / rank / 5
        areas.append(area)
    curve = risk_coverage(confidences, correct)
    assert curve.aurc == pytest.approx(sum(areas) / len(areas))
    assert [point.threshold for point in curve.points] == [0.9, 0.8, 0.5]
    assert curve.answerable_95 == 0.0


def test_a_long_curve_is_thinned_and_its_area_is_not():
    rng = Random(2)
    confidences = [rng.random() for _ in range(2500)]
    correct = [rng.random() < confidence for confidence in confidences]
    curve = risk_coverage(confidences, correct)
    assert [point.coverage for point in curve.points] == pytest.approx([(i + 1) / 100 for i in range(NUM_POINTS)])
    wrong, area, best = 0, 0.0, 0.0
    for rank, (_, right) in enumerate(sorted(zip(confidences, correct, strict=True), reverse=True), start=1):
        wrong += not right
        area += wrong / rank / 2500
        if wrong / rank <= 0.05:
            best = rank / 2500
    assert curve.aurc == pytest.approx(area)
    assert curve.answerable_95 == best
    assert curve.points[-1].risk == wrong / 2500
