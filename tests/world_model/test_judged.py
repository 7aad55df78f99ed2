"""A prediction beside the truth: which label counts as predicted, and what is refused."""

import pytest

from ecot.errors import DataError
from ecot.outcomes import Domain, Label
from ecot.world_model.judged import Judged, likeliest


def judged(real: Label, predicted: Label, probabilities: dict[Label, float]) -> Judged:
    return Judged("t", Domain.EMBEDDED, real, predicted, probabilities)


def test_of_even_labels_the_earlier_in_the_taxonomy_is_likeliest():
    even = {Label.TIMEOUT: 0.4, Label.PASS: 0.2, Label.MEMORY_FAULT: 0.4}
    assert likeliest(even) is Label.MEMORY_FAULT
    assert likeliest(dict(reversed(even.items()))) is Label.MEMORY_FAULT
    assert likeliest({Label.TIMEOUT: -1.5, Label.PASS: -2.0}) is Label.TIMEOUT
    with pytest.raises(DataError, match="at least one"):
        likeliest({})


def test_confidence_is_that_of_the_predicted_label():
    turn = judged(Label.PASS, Label.TIMEOUT, {Label.PASS: 0.3, Label.TIMEOUT: 0.7})
    assert turn.confidence == 0.7 and not turn.correct
    assert judged(Label.PASS, Label.PASS, {Label.PASS: 1.0}).correct


def test_rounded_probabilities_are_taken():
    shares = {Label.PASS: 0.333333, Label.TIMEOUT: 0.333333, Label.MEMORY_FAULT: 0.333333}
    # Before rounding this one may have been ahead by a hair.
    assert judged(Label.PASS, Label.TIMEOUT, shares).confidence == 0.333333


@pytest.mark.parametrize(
    "probabilities, message",
    [
        ({Label.PASS: 0.4, Label.TIMEOUT: 0.6}, "TIMEOUT is the likeliest"),
        ({Label.TIMEOUT: 1.0}, "TIMEOUT is the likeliest"),
        ({Label.PASS: 0.6, Label.TIMEOUT: 0.3}, "sum to 1"),
        ({Label.PASS: 1.2, Label.TIMEOUT: -0.2}, "sum to 1"),
        ({Label.PASS: float("nan"), Label.TIMEOUT: 0.1}, "sum to 1"),
        ({}, "sum to 1"),
    ],
)
def test_probabilities_that_do_not_fit_are_refused(probabilities, message):
    with pytest.raises(DataError, match=message):
        judged(Label.PASS, Label.PASS, probabilities)


def test_a_failure_of_the_tool_is_no_truth():
    with pytest.raises(DataError, match="task 't': the real outcome is TOOL_ERROR"):
        judged(Label.TOOL_ERROR, Label.PASS, {Label.PASS: 1.0})
