"""What the world model writes can be read back, and nothing else can."""

import pytest

from ecot.outcomes import SUBCODES, Execution, Label, Stage
from ecot.synthesis.observation import MAX_LINES, observation_text
from ecot.world_model.outcome_text import Verdict, read_outcome, write_outcome


def test_every_outcome_of_the_taxonomy_is_read_back():
    for label, subcodes in SUBCODES.items():
        for subcode in ("", *subcodes):
            for stage in Stage:
                said = Execution(label, subcode, stage, "a.sv:3: error\n  at line 4\n", {"cells": 12, "worst": -0.25})
                told = read_outcome(write_outcome(said))
                assert told.verdict == Verdict(label, subcode, stage)
                assert told.diagnostics == said.diagnostics and told.metrics == said.metrics


def test_the_text_is_the_observation_with_the_metrics_in_it():
    said = Execution(Label.PASS, "", Stage.CHECK, "", {"b": 2.0, "a": 1e-7, "bad": float("nan")})
    assert write_outcome(said) == "outcome: PASS\nstage: check\nmetrics: a=1e-07 b=2"
    mismatch = Execution(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK, "")
    assert write_outcome(mismatch) == observation_text(mismatch)
    assert read_outcome(write_outcome(mismatch)).diagnostics == ""


def test_long_diagnostics_are_cut_as_for_the_code_model():
    lines = [f"a.c:{number}: error" for number in range(30)]
    said = Execution(Label.COMPILATION_ERROR, "syntax", Stage.COMPILE, "\n".join(lines))
    told = read_outcome(write_outcome(said))
    assert told.diagnostics.splitlines() == lines[:MAX_LINES]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PASS",
        "outcome: GREAT\nstage: check",
        "outcome: PASS\nstage: later",
        "outcome: PASS (syntax)\nstage: check",
        "so outcome: PASS\nstage: check",
    ],
)
def test_what_is_not_of_our_form_is_no_outcome(text):
    assert read_outcome(text) is None


def test_numbers_that_are_none_are_passed_over():
    told = read_outcome("outcome: PASS\nstage: check\nmetrics: a=1 b=x c= nan=nan d=inf e=-2\nfine")
    assert told.metrics == {"a": 1.0, "e": -2.0} and told.diagnostics == "fine\n"
