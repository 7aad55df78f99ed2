"""How loops end under the model, on stored trajectories counted by hand."""

import json

import pytest

from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.world_model.verdicts import Replayed, loop_end, verdict_agreement

P, C, F = Label.PASS, Label.COMPILATION_ERROR, Label.FUNCTIONAL_MISMATCH
CHIP, CAD = Domain.CHIP_DESIGN, Domain.CAD_3D

STORED = [
    Replayed(CHIP, [P], [P]),  # agrees in everything
    Replayed(CHIP, [P], [F]),  # a PASS missed
    Replayed(CHIP, [C, P], [F, P]),  # wrong label, same end
    Replayed(CHIP, [C, P], [P, P]),  # same verdict, but the wrong code is kept
    Replayed(CAD, [C, F, F], [C, C, F]),  # both fail at the last
    Replayed(CAD, [C, F, F], [C, P, F]),  # a false PASS
]


def test_a_loop_ends_at_the_first_pass_or_at_the_last_attempt():
    assert [loop_end(labels) for labels in ([P], [C], [C, P, P], [C, F, F])] == [0, 0, 1, 2]


def counts(rates):
    return [(rate.successes, rate.trials) for rate in (rates.verdict, rates.end, rates.false_pass)]


def test_agreement_of_six_trajectories():
    found = verdict_agreement(STORED)
    assert counts(found.overall) == [(4, 6), (4, 6), (2, 6)]
    of_passes = found.overall.false_pass_of_passes
    assert (of_passes.successes, of_passes.trials) == (2, 4)
    assert {number: counts(rates) for number, rates in found.by_attempts.items()} == {
        1: [(1, 2), (2, 2), (0, 2)],
        2: [(2, 2), (1, 2), (1, 2)],
        3: [(1, 2), (1, 2), (1, 2)],
    }
    assert {domain: counts(rates) for domain, rates in found.by_domain.items()} == {
        CHIP: [(3, 4), (3, 4), (1, 4)],
        CAD: [(1, 2), (1, 2), (1, 2)],
    }


def test_the_figures_are_plain_json():
    row = json.loads(json.dumps(verdict_agreement(STORED).to_json()))
    assert list(row["by_attempts"]) == ["1", "2", "3"] and list(row["by_domain"]) == ["chip_design", "cad_3d"]
    assert row["overall"]["verdict"]["successes"] == 4


def test_attempts_without_a_prediction_are_refused():
    with pytest.raises(DataError, match="2 real and 1 predicted"):
        Replayed(CHIP, [C, P], [C])
    with pytest.raises(DataError, match="0 real"):
        Replayed(CHIP, [], [])
    with pytest.raises(DataError, match="no trajectory"):
        verdict_agreement([])
