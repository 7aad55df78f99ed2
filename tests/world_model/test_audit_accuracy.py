"""Accuracy told from audits drawn with unequal chances: by hand, and over many draws from a known population."""

import json
from random import Random

import pytest

from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.rates import wilson_interval
from ecot.world_model.audit_accuracy import AuditArm, Audited, estimate_accuracy, inclusion_probability, weighted_share

CHIP, CAD = Domain.CHIP_DESIGN, Domain.CAD_3D


def turn(agreed: bool, inclusion: float, arm: AuditArm = AuditArm.RANDOM, domain: Domain = CHIP) -> Audited:
    real = Label.PASS if agreed else Label.FUNCTIONAL_MISMATCH
    return Audited("t", domain, Label.PASS, real, arm, inclusion)


def test_each_turn_stands_for_those_not_drawn():
    # Random share 0.1: 8 right and 2 wrong stand for 100. Always taken: 30, of which 10 are right.
    turns = [turn(index < 8, 0.1) for index in range(10)]
    turns += [turn(index < 10, 1.0, AuditArm.LOW_CONFIDENCE) for index in range(30)]
    found = estimate_accuracy(turns).overall
    assert (found.random.successes, found.random.trials) == (8, 10)
    assert found.weighted.value == pytest.approx((80 + 10) / 130)
    rate = found.chosen[AuditArm.LOW_CONFIDENCE]
    assert (rate.successes, rate.trials) == (10, 30)
    assert list(found.chosen) == [AuditArm.LOW_CONFIDENCE]
    # Only the random turns vary: 0.9 / 0.01 (8 (1 - 9/13)^2 + 2 (9/13)^2) / 130^2, and p (1 - p) over it.
    variance = 90 * (8 * (4 / 13) ** 2 + 2 * (9 / 13) ** 2) / 130**2
    assert found.weighted.effective_size == pytest.approx((9 / 13) * (4 / 13) / variance)


def test_equal_chances_give_wilsons_interval():
    turns = [turn(index < 45, 0.001) for index in range(50)]
    found = weighted_share(turns)
    assert found.value == pytest.approx(0.9)
    assert found.effective_size == pytest.approx(50, rel=0.01)
    assert (found.low, found.high) == pytest.approx(wilson_interval(45, 50), abs=1e-3)


def test_agreement_everywhere_leaves_room_for_errors_not_met():
    found = weighted_share([turn(True, 0.1)] * 20 + [turn(True, 1.0, AuditArm.PASS)] * 100)
    assert found.value == 1.0 == found.high
    # Kish: (200 + 100)^2 / (2000 + 100).
    assert found.effective_size == pytest.approx(300**2 / 2100)
    assert found.low == pytest.approx(found.effective_size / (found.effective_size + 1.959964**2), abs=1e-6)


def test_an_estimate_without_random_turns_claims_nothing():
    found = estimate_accuracy([turn(True, 1.0, AuditArm.PASS)] * 3).overall.random
    assert (found.trials, found.low, found.high) == (0, 0.0, 1.0)


def test_domains_apart_and_plain_json():
    turns = [turn(True, 0.1)] * 3 + [turn(False, 0.1, domain=CAD)] * 2
    row = json.loads(json.dumps(estimate_accuracy(turns).to_json(), allow_nan=False))
    assert row["overall"]["random"]["value"] == pytest.approx(0.6)
    assert [row["by_domain"][d]["weighted"]["value"] for d in ("chip_design", "cad_3d")] == [1.0, 0.0]


def test_arms_add_up():
    assert inclusion_probability([0.05]) == pytest.approx(0.05)
    assert inclusion_probability([0.1, 0.5]) == pytest.approx(0.55)
    assert inclusion_probability([0.05, 1.0]) == 1.0
    assert inclusion_probability([]) == 0.0


def test_both_estimates_find_the_truth_and_a_plain_mean_does_not():
    """2000 turns, 200 of low confidence always audited; 40% of these and 5% of the others are wrong: 0.915 is right."""
    wrong_low, wrong_other = 80, 90
    truth = 1 - (wrong_low + wrong_other) / 2000
    rng = Random(17)
    random, weighted, plain, held = [], [], [], 0
    for _ in range(40):
        turns = []
        for index in range(2000):
            low = index < 200
            agreed = index >= wrong_low if low else index >= 200 + wrong_other
            if rng.random() < 0.1:
                turns.append(turn(agreed, 1.0 if low else 0.1))
            elif low:
                turns.append(turn(agreed, 1.0, AuditArm.LOW_CONFIDENCE))
        found = estimate_accuracy(turns).overall
        random.append(found.random.value)
        weighted.append(found.weighted.value)
        plain.append(sum(item.agreed for item in turns) / len(turns))
        held += found.weighted.low <= truth <= found.weighted.high
    draws = len(weighted)
    assert sum(random) / draws == pytest.approx(truth, abs=0.01)
    assert sum(weighted) / draws == pytest.approx(truth, abs=0.01)
    assert sum(plain) / draws < truth - 0.1
    spread = [sum((value - truth) ** 2 for value in values) for values in (weighted, random)]
    assert spread[0] < spread[1], "knowing the doubtful turns makes the estimate sharper"
    assert held / draws >= 0.92


def test_impossible_chances_are_refused():
    with pytest.raises(DataError, match="task 't': inclusion must be above 0 and at most 1, given 0"):
        turn(True, 0.0)
    with pytest.raises(DataError, match=r"given 1\.5"):
        turn(True, 1.5)
    with pytest.raises(DataError, match="no audited turn"):
        estimate_accuracy([])
