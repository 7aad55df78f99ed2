"""Agreement of predictions with real outcomes, on a few turns counted by hand and on simulated ones."""

import json
from random import Random

import pytest

from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.rates import wilson_interval
from ecot.world_model.fidelity import ClassScore, cluster_interval, line_numbers, majority_baseline, measure_fidelity
from ecot.world_model.judged import Judged

P, C, F, T = Label.PASS, Label.COMPILATION_ERROR, Label.FUNCTIONAL_MISMATCH, Label.TIMEOUT
CHIP, CAD = Domain.CHIP_DESIGN, Domain.CAD_3D


def turn(task: str, domain: Domain, real: Label, predicted: Label, texts: tuple[str, str] = ("", "")) -> Judged:
    other = T if predicted is not T else P
    return Judged(task, domain, real, predicted, {predicted: 0.75, other: 0.25}, *texts)


TURNS = [
    turn("a", CHIP, P, P, ("all match\n", "all match\n")),
    turn("a", CHIP, P, F),
    turn("a", CHIP, F, P),
    turn("b", CHIP, F, F, ("3 of 9 samples mismatch\n", "4 of 9 samples mismatch\n")),
    turn("b", CHIP, C, C, ("c.sv:7: syntax error\nc.sv:1: more\n", "c.sv:1: more\nc.sv:7: syntax error\n")),
    turn("c", CAD, C, C, ("line 3: no solid\n", "line 4: no solid\n")),
    turn("c", CAD, F, T),
    turn("d", CAD, C, C, (" c.py:4: bad \n", "c.py:4: bad\n")),
]


def test_figures_of_eight_turns():
    report = measure_fidelity(TURNS)
    overall = report.overall
    assert (overall.turns, overall.tasks) == (8, 4)
    assert (overall.accuracy.successes, overall.accuracy.trials) == (5, 8)
    assert (overall.accuracy.low, overall.accuracy.high) == wilson_interval(5, 8)
    assert overall.classes == {
        P: ClassScore(support=2, predicted=2, precision=0.5, recall=0.5, f1=0.5),
        C: ClassScore(support=3, predicted=3, precision=1.0, recall=1.0, f1=1.0),
        F: ClassScore(support=3, predicted=2, precision=0.5, recall=pytest.approx(1 / 3), f1=pytest.approx(0.4)),
        T: ClassScore(support=0, predicted=1, precision=0.0, recall=None, f1=0.0),
    }
    # TIMEOUT never really occurs, so it is not in the mean.
    assert overall.macro_f1 == pytest.approx((0.5 + 1.0 + 0.4) / 3)
    assert (overall.false_pass.successes, overall.false_pass.trials) == (1, 6)
    assert (overall.wrong_among_pass.successes, overall.wrong_among_pass.trials) == (1, 2)
    assert (overall.false_fail.successes, overall.false_fail.trials) == (1, 2)
    assert (overall.false_pass.low, overall.false_pass.high) == wilson_interval(1, 6)
    assert overall.confusion == {P: {P: 1, F: 1}, C: {C: 3}, F: {P: 1, F: 1, T: 1}}
    assert overall.ece == pytest.approx(0.75 - 5 / 8)
    # Of eight turns five are right (2 * 0.25^2), two have the 0.25 elsewhere, one as well: 0.75^2 + 0.25^2 + 1.
    assert overall.brier == pytest.approx((5 * 0.125 + 3 * (0.75**2 + 0.25**2 + 1)) / 8)


def test_each_domain_has_its_own_figures():
    report = measure_fidelity(TURNS)
    assert list(report.by_domain) == [CHIP, CAD]
    assert report.by_domain[CHIP] == measure_fidelity(TURNS[:5]).overall
    assert report.by_domain[CAD].false_pass.successes == 0
    assert report.by_domain[CAD].false_fail.trials == 0


def test_texts_are_compared_where_the_label_is_right():
    said = measure_fidelity(TURNS).overall.diagnostics
    # Right labels: the first line is equal of the first and the last, and only the first is a PASS.
    assert (said.first_line.successes, said.first_line.trials) == (2, 5)
    assert (said.first_line_failing.successes, said.first_line_failing.trials) == (1, 4)
    # Lines are named thrice: the same set in another order, another line, the same line.
    assert (said.line_numbers.successes, said.line_numbers.trials) == (2, 3)


def test_line_numbers_as_the_tools_write_them():
    text = "candidate.sv:12: error\n%Error: candidate.c:3:5: x\nk.cu(2): error\nnote: line 40: fillet()\n(line 1)\n"
    assert line_numbers(text) == {12, 3, 2, 40, 1}
    assert line_numbers("first mismatch at 30:20, 8'h4a, y[3:0], 0.5:7, pipeline 3, 2 of 9") == frozenset()


def test_turns_of_one_task_widen_the_interval_by_task():
    # 40 tasks of 25 turns, each task all right or all wrong: as good as 40 turns, not 1000.
    results = [(f"t{task}", task % 4 != 0) for task in range(40) for _ in range(25)]
    found = cluster_interval(results, seed=3)
    # The normal interval of 30 of 40 is 0.75 +- 1.96 sqrt(0.75 * 0.25 / 40) = 0.75 +- 0.134.
    assert (found.low, found.high) == pytest.approx((0.616, 0.884), abs=0.03)
    low, high = wilson_interval(750, 1000)
    assert found.high - found.low > 4 * (high - low)
    assert cluster_interval(results[::-1], seed=3) == found


def test_independent_turns_give_the_plain_interval():
    results = [(f"t{index}", index % 5 != 0) for index in range(1000)]
    found = cluster_interval(results, seed=3)
    assert (found.low, found.high) == pytest.approx(wilson_interval(800, 1000), abs=0.005)


def test_one_task_says_nothing_of_others():
    found = cluster_interval([("t", True)] * 9, seed=0)
    assert (found.low, found.high, found.tasks) == (0.0, 1.0, 1)


def test_the_interval_by_task_covers_and_wilsons_does_not():
    """Tasks of very different difficulty: of 60 studies the nominal 95% should hold the true accuracy."""
    rng = Random(5)
    covered = plain = 0
    for study in range(60):
        results = []
        for task in range(30):
            share = rng.choice([0.4, 1.0])  # mean 0.7
            results += [(f"t{task}", rng.random() < share) for _ in range(15)]
        found = cluster_interval(results, seed=study, resamples=200)
        covered += found.low <= 0.7 <= found.high
        low, high = wilson_interval(sum(right for _, right in results), len(results))
        plain += low <= 0.7 <= high
    assert covered >= 53
    assert plain <= 45


def test_the_report_is_plain_json_and_independent_of_order():
    report = measure_fidelity(TURNS, seed=7)
    row = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert row["overall"]["confusion"]["FUNCTIONAL_MISMATCH"] == {"PASS": 1, "FUNCTIONAL_MISMATCH": 1, "TIMEOUT": 1}
    assert row["by_domain"]["cad_3d"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert row["overall"]["classes"]["TIMEOUT"]["recall"] is None
    assert row["overall"]["risk_coverage"]["points"] == [{"threshold": 0.75, "coverage": 1.0, "risk": 3 / 8}]
    again = json.loads(json.dumps(measure_fidelity(TURNS[::-1], seed=7).to_json()))
    assert again == row


def test_nothing_to_measure_is_an_error():
    with pytest.raises(DataError, match="no prediction"):
        measure_fidelity([])


def test_the_baseline_predicts_each_domains_most_frequent_label():
    train = [(CHIP, F)] * 3 + [(CHIP, P)] + [(CAD, P)] * 2 + [(CAD, C)] * 2
    rows = majority_baseline(train, [*TURNS, turn("e", Domain.EMBEDDED, P, C)])
    assert [row.predicted for row in rows] == [F] * 5 + [P] * 3 + [P]
    assert rows[0].probabilities == {P: 0.25, F: 0.75}
    assert rows[5].probabilities == {P: 0.5, C: 0.5}
    # A domain that was never seen takes all 8 turns: 3 PASS, 2 COMPILATION_ERROR, 3 FUNCTIONAL_MISMATCH.
    assert rows[8].probabilities == {P: 0.375, C: 0.25, F: 0.375}
    assert [row.real for row in rows[:8]] == [row.real for row in TURNS]
    assert measure_fidelity(rows[:8]).overall.accuracy.successes == 2
    with pytest.raises(DataError, match="at least one turn"):
        majority_baseline([], TURNS)
