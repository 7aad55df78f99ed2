"""Temperatures against closed forms and brute force; reading and writing."""

import json
import math
from random import Random

import pytest

from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.world_model.calibration import Calibration, ScoredTurn, fit_calibration, fit_temperature
from ecot.world_model.judged import likeliest

P, C, F = Label.PASS, Label.COMPILATION_ERROR, Label.FUNCTIONAL_MISMATCH
CHIP, CAD = Domain.CHIP_DESIGN, Domain.CAD_3D


def certain(domain: Domain, right: int, wrong: int, gap: float = 4.0, per_task: int = 5) -> list[ScoredTurn]:
    """Turns that favour PASS over TIMEOUT by the same gap; errors are spread over tasks."""
    total = right + wrong
    truths = [P if (index * wrong) // total == ((index + 1) * wrong) // total else C for index in range(total)]
    return [
        ScoredTurn(f"{domain}{index // per_task}", domain, truth, {P: gap - 9.0, C: -9.0})
        for index, truth in enumerate(truths)
    ]


def drawn(domain: Domain, temperature: float, tasks: int, per_task: int, rng: Random) -> list[ScoredTurn]:
    """Turns whose labels follow the softmax of scores / temperature."""
    turns = []
    for task in range(tasks):
        for _ in range(per_task):
            logits = {label: rng.gauss(0, 2) for label in (P, C, F)}
            truth = rng.choices(list(logits), [math.exp(value) for value in logits.values()])[0]
            scores = {label: temperature * value for label, value in logits.items()}
            turns.append(ScoredTurn(f"{domain}{task}", domain, truth, scores))
    return turns


def loss(turns: list[ScoredTurn], temperature: float) -> float:
    total = 0.0
    for turn in turns:
        powers = {label: math.exp(score / temperature) for label, score in turn.scores.items()}
        total -= math.log(powers[turn.real] / sum(powers.values()))
    return total


def test_one_gap_has_a_closed_form():
    # 80% right at a gap of 4: sigmoid(4 / T) = 0.8, so T = 4 / log(0.8 / 0.2).
    turns = certain(CHIP, right=80, wrong=20)
    assert sum(turn.real is P for turn in turns) == 80
    assert fit_temperature(turns) == pytest.approx(4 / math.log(4), rel=1e-3)
    assert fit_temperature(certain(CHIP, right=99, wrong=1, gap=0.5)) == pytest.approx(0.5 / math.log(99), rel=1e-3)


def test_the_temperature_stays_in_its_range():
    assert fit_temperature(certain(CHIP, right=30, wrong=0)) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(certain(CHIP, right=0, wrong=30)) == pytest.approx(20, rel=1e-3)
    assert fit_temperature([]) == 1.0


def test_the_fit_is_the_lowest_of_a_fine_grid():
    turns = drawn(CHIP, 2.5, tasks=40, per_task=10, rng=Random(1))
    grid = [2.5 + 0.01 * index for index in range(100)]
    best = min(grid, key=lambda value: loss(turns, value))
    assert fit_temperature(turns) == pytest.approx(best, abs=0.01)


def test_domains_that_differ_get_their_own_temperature():
    rng = Random(2)
    turns = drawn(CHIP, 4.0, 30, 6, rng) + drawn(CAD, 0.7, 30, 6, rng) + drawn(Domain.EMBEDDED, 4.0, 7, 7, rng)
    found = fit_calibration(turns)
    assert set(found.by_domain) == {CHIP, CAD}, "49 turns are too few"
    assert found.by_domain[CHIP] == pytest.approx(4.0, rel=0.25)
    assert found.by_domain[CAD] == pytest.approx(0.7, rel=0.25)
    assert found.by_domain[CAD] < found.temperature < found.by_domain[CHIP]
    assert fit_calibration(turns[::-1]) == found


def left_out_is_better(inside: list[ScoredTurn], everything: list[ScoredTurn]) -> bool:
    own = common = 0.0
    for task in {turn.task_id for turn in inside}:
        held = [turn for turn in inside if turn.task_id == task]
        own += loss(held, fit_temperature([turn for turn in inside if turn.task_id != task]))
        common += loss(held, fit_temperature([turn for turn in everything if turn.task_id != task]))
    return own < common


def test_an_own_temperature_is_kept_only_if_it_helps_tasks_left_out():
    decisions = []
    for seed in range(4):
        rng = Random(seed)
        turns = drawn(CHIP, 1.0, 7, 8, rng) + drawn(CAD, 1.0 + 0.3 * seed, 7, 8, rng)
        found = fit_calibration(turns)
        for domain in (CHIP, CAD):
            inside = [turn for turn in turns if turn.domain is domain]
            better = left_out_is_better(inside, turns)
            assert (domain in found.by_domain) is better, (seed, domain)
            decisions.append(better)
    assert True in decisions and False in decisions


def test_one_task_has_no_temperature_of_its_own():
    alone = [ScoredTurn("only", CAD, turn.real, turn.scores) for turn in drawn(CAD, 5.0, 1, 80, Random(3))]
    assert fit_calibration([*alone, *drawn(CHIP, 1.0, 20, 5, Random(4))]).by_domain.keys() <= {CHIP}


def test_probabilities_are_a_softmax_that_does_not_overflow():
    calibration = Calibration(2.0, {CAD: 0.5}, {})
    found = calibration.probabilities(CHIP, {P: -1.0, C: -3.0})
    # exp(-0.5) against exp(-1.5)
    assert found == pytest.approx({P: 1 / (1 + math.exp(-1)), C: 1 / (1 + math.e)})
    assert calibration.probabilities(CAD, {P: -1.0, C: -3.0})[P] == pytest.approx(1 / (1 + math.exp(-4)))
    far = calibration.probabilities(CAD, {P: 5000.0, C: -5000.0, F: 4999.5})
    assert far[C] == 0.0 and far[P] == pytest.approx(1 / (1 + math.exp(-1)))
    assert math.fsum(far.values()) == pytest.approx(1)
    with pytest.raises(DataError, match="no label has a score"):
        calibration.probabilities(CHIP, {})


def test_calibration_changes_no_prediction():
    calibration = Calibration(7.0, {}, {})
    for turn in drawn(CHIP, 1.0, 5, 10, Random(5)):
        assert likeliest(calibration.probabilities(CHIP, turn.scores)) is likeliest(turn.scores)


def test_thresholds_are_chosen_on_calibrated_confidences():
    # 97% right at a gap of 4 in 600 turns: calibrated to 0.97 and shown above 0.95. In the other domain 80% are right.
    turns = certain(CHIP, right=588, wrong=12) + certain(CAD, right=160, wrong=40)
    found = fit_calibration(turns, target=0.95)
    assert found.thresholds == {CHIP: 0.5, CAD: None}
    assert found.by_domain[CHIP] == pytest.approx(4 / math.log(49), rel=1e-3)
    assert found.trusts(CHIP, 0.98) and found.trusts(CHIP, 0.5) and not found.trusts(CHIP, 0.49)
    assert not found.trusts(CAD, 1.0)
    assert not found.trusts(Domain.GENERAL, 1.0), "a domain without calibration turns is never trusted"


def test_a_label_that_the_model_cannot_predict_counts_as_wrong():
    known = certain(CHIP, right=490, wrong=10)
    unknown = [ScoredTurn(f"u{index}", CHIP, F, {P: 4.0, C: 0.0}) for index in range(60)]
    assert fit_calibration(known).thresholds[CHIP] == 0.5
    found = fit_calibration([*known, *unknown])
    assert found.temperature == fit_calibration(known).temperature
    assert found.thresholds[CHIP] is None
    assert fit_calibration(unknown) == Calibration(1.0, {}, {CHIP: None})


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(DataError, match="no turn to calibrate on"):
        fit_calibration([])
    with pytest.raises(ValueError, match=r"between 0 and 1, given 1\.0"):
        fit_calibration(certain(CHIP, 5, 5), target=1.0)
    with pytest.raises(DataError, match="task 't': scores of labels must be finite"):
        ScoredTurn("t", CHIP, P, {P: -math.inf})
    with pytest.raises(DataError, match="at least one"):
        ScoredTurn("t", CHIP, P, {})


def test_a_calibration_survives_json():
    calibration = Calibration(1.5, {CHIP: 2.25}, {CHIP: 0.9, CAD: None})
    row = json.loads(json.dumps(calibration.to_json(), allow_nan=False))
    assert row == {
        "temperature": 1.5,
        "by_domain": {"chip_design": 2.25},
        "thresholds": {"chip_design": 0.9, "cad_3d": None},
    }
    assert Calibration.from_json(row) == calibration


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"temperature": 0}, "'temperature' must be above 0, given 0"),
        ({"temperature": "1"}, "'temperature' must be a finite number"),
        ({"temperature": True}, "'temperature' must be a finite number"),
        ({"by_domain": [1]}, "'by_domain' must map domains"),
        ({"by_domain": {"chips": 1.0}}, "'by_domain.chips' is no domain; allowed: chip_design"),
        ({"by_domain": {"cad_3d": -1}}, "'by_domain.cad_3d' must be above 0"),
        ({"thresholds": {"cad_3d": 1.01}}, "'thresholds.cad_3d' must lie in 0..1 or be null"),
        ({"thresholds": {"cad_3d": math.nan}}, "'thresholds.cad_3d' must be a finite number"),
        ({"extra": 1}, "keys must be by_domain, temperature, thresholds, given"),
    ],
)
def test_a_damaged_calibration_names_the_key(changes, message):
    with pytest.raises(DataError, match=message):
        Calibration.from_json({**Calibration(1.0, {}, {}).to_json(), **changes})
