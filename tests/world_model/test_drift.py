"""The sequential test: its error rates exactly and by simulation, its length, and its state on disk."""

import json
import math
from random import Random

import pytest

from ecot.errors import DataError
from ecot.world_model.drift import DriftState, DriftTest


def ends(accuracy: float, turns: int, **settings: float) -> tuple[dict[DriftState, float], float]:
    """Exact chances of each state after at most `turns` turns, and the mean number of turns taken.

    Walks over all (audits, disagreements) that are still undecided with their chances.
    """
    chances = dict.fromkeys(DriftState, 0.0)
    open_ = {0: 1.0}
    mean = 0.0
    for audits in range(1, turns + 1):
        mean += sum(open_.values())
        after: dict[int, float] = {}
        for errors, chance in open_.items():
            after[errors] = after.get(errors, 0.0) + chance * accuracy
            after[errors + 1] = after.get(errors + 1, 0.0) + chance * (1 - accuracy)
        open_ = {}
        for errors, chance in after.items():
            state = DriftTest(audits=audits, disagreements=errors, **settings).state
            if state is DriftState.UNDECIDED:
                open_[errors] = chance
            else:
                chances[state] += chance
    chances[DriftState.UNDECIDED] = sum(open_.values())
    return chances, mean


def run(accuracy: float, rng: Random, turns: int) -> DriftTest:
    test = DriftTest(baseline=0.95)
    for _ in range(turns):
        test = test.update(rng.random() < accuracy)
    return test


def test_the_statistic_by_hand():
    test = DriftTest(baseline=0.95, audits=10, disagreements=3)
    assert test.statistic == pytest.approx(3 * math.log(0.08 / 0.05) + 7 * math.log(0.92 / 0.95))
    assert DriftTest(baseline=0.95).statistic == 0.0
    # log 20 = 2.996 = 0.470 k - 0.0321 (n - k): seven errors in a row are enough, six are not.
    assert DriftTest(baseline=0.95, audits=6, disagreements=6).state is DriftState.UNDECIDED
    assert DriftTest(baseline=0.95, audits=7, disagreements=7).state is DriftState.DRIFTED
    # log 0.2 = -1.609: 51 right turns in a row clear the model, 50 do not.
    assert DriftTest(baseline=0.95, audits=50).state is DriftState.UNDECIDED
    assert DriftTest(baseline=0.95, audits=51).state is DriftState.OK


def test_without_drift_it_alarms_at_most_at_its_rate():
    chances, mean = ends(0.95, 2000, baseline=0.95)
    assert 0.02 < chances[DriftState.DRIFTED] <= 0.05
    assert chances[DriftState.UNDECIDED] < 1e-4
    assert mean == pytest.approx(200, rel=0.15)
    better, _ = ends(0.97, 800, baseline=0.95)
    assert better[DriftState.DRIFTED] < 0.005


def test_a_drop_of_three_points_is_found():
    chances, mean = ends(0.92, 2000, baseline=0.95)
    assert chances[DriftState.OK] <= 0.2
    assert chances[DriftState.DRIFTED] >= 0.8
    assert mean == pytest.approx(300, rel=0.15)
    worse, sooner = ends(0.85, 800, baseline=0.95)
    assert worse[DriftState.DRIFTED] > 0.97 and sooner < 100


@pytest.mark.parametrize("baseline, drop, alpha, beta", [(0.8, 0.05, 0.1, 0.1), (0.99, 0.03, 0.01, 0.2)])
def test_the_rates_hold_elsewhere(baseline, drop, alpha, beta):
    settings = dict(baseline=baseline, drop=drop, alpha=alpha, beta=beta)
    assert ends(baseline, 800, **settings)[0][DriftState.DRIFTED] <= alpha
    assert ends(baseline - drop, 800, **settings)[0][DriftState.OK] <= beta


def test_simulated_alarms_agree_with_the_exact_rate():
    rng = Random(23)
    streams = 100
    exact, _ = ends(0.95, 400, baseline=0.95)
    alarms = sum(run(0.95, rng, 400).state is DriftState.DRIFTED for _ in range(streams))
    error = math.sqrt(exact[DriftState.DRIFTED] * (1 - exact[DriftState.DRIFTED]) / streams)
    assert alarms / streams == pytest.approx(exact[DriftState.DRIFTED], abs=3 * error)
    assert alarms / streams <= 0.05 + 3 * error
    found = sum(run(0.92, rng, 1500).state is DriftState.DRIFTED for _ in range(25))
    assert found >= 16, "80% of 25 less two standard errors"


def test_a_decided_test_takes_no_more_turns():
    test = DriftTest(baseline=0.95)
    for _ in range(7):
        test = test.update(agreed=False)
    assert test.state is DriftState.DRIFTED and test.audits == 7
    assert test.update(agreed=True) is test
    assert test.restarted() == DriftTest(baseline=0.95)


def test_it_goes_on_where_it_was_stored():
    rng = Random(29)
    answers = [rng.random() < 0.94 for _ in range(120)]
    straight = stored = DriftTest(baseline=0.94, drop=0.04, alpha=0.02, beta=0.1)
    for agreed in answers:
        straight = straight.update(agreed)
        stored = DriftTest.from_json(json.loads(json.dumps(stored.update(agreed).to_json())))
    assert stored == straight
    row = straight.to_json()
    assert row["state"] == straight.state and row["statistic"] == straight.statistic


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"audits": 2.5}, "'audits' must be a whole number, given 2.5"),
        ({"alpha": "0.05"}, "'alpha' must be a number"),
        ({"alpha": True}, "'alpha' must be a number"),
        ({"disagreements": 3}, "disagreements must lie in 0..audits, given 3 of 0"),
        ({"baseline": 1.0}, "baseline below 1"),
        ({"baseline": math.nan}, "baseline below 1"),
        ({"drop": 0.96}, "below baseline"),
        ({"beta": 0.96}, "alpha and beta must be above 0 and their sum below 1"),
        ({"seed": 1}, "keys must be alpha, audits"),
    ],
)
def test_a_damaged_state_names_the_key(changes, message):
    with pytest.raises(DataError, match=message):
        DriftTest.from_json({**DriftTest(baseline=0.95).to_json(), **changes})
