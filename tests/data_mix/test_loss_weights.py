"""Loss rules: each condition by itself, their product, and the batches that come of them."""

import numpy as np
import pytest

from ecot.config import validate_config
from ecot.data_mix.batch import Collator
from ecot.data_mix.loss_rules import LossRule
from ecot.data_mix.loss_weights import LossWeights, count_touched, rule_matches
from ecot.data_mix.prepare import prepare
from ecot.data_mix.store import Details, Document, RunTable
from ecot.errors import ConfigError
from ecot.outcomes import Domain, Label
from ecot.segments import Kind

KINDS = {Kind.THINKING: 1.0, Kind.ANSWER: 1.0}
RUNS = np.array(
    [(5, 0, 0), (3, 1, 1), (4, 2, 1), (2, 0, 1), (6, 3, 1), (1, 0, 1), (2, 1, 2), (7, 2, 2), (3, 3, 2)], np.int32
)
THINK_1, ANSWER_1, SEEN_1, THINK_2, ANSWER_2, SEEN_2 = 1, 2, 4, 6, 7, 8


def document(labels=(Label.COMPILATION_ERROR, Label.PASS)):
    ids = np.arange(RUNS[:, 0].sum(), dtype=np.int32)
    columns = RunTable(RUNS[:, 0], RUNS[:, 1], RUNS[:, 2])
    return Document(ids, columns, Domain.EMBEDDED, lambda: Details("t", "k", labels[-1], labels, "here:1"))


def touched(outcomes=(Label.COMPILATION_ERROR, Label.PASS), **conditions):
    matches = rule_matches(LossRule(factor=0.5, **conditions), document(outcomes))
    return {run for run in np.nonzero(matches)[0].tolist() if RUNS[run, 1] != Kind.PROMPT}


@pytest.mark.parametrize(
    ("conditions", "runs"),
    [
        ({}, {THINK_1, ANSWER_1, SEEN_1, THINK_2, ANSWER_2, SEEN_2}),
        ({"kinds": ["answer"]}, {ANSWER_1, ANSWER_2}),
        ({"failed": True, "kinds": ["answer"]}, {ANSWER_1}),
        ({"failed": False, "kinds": ["thinking", "answer"]}, {THINK_2, ANSWER_2}),
        ({"labels": ["COMPILATION_ERROR"]}, {THINK_1, ANSWER_1, SEEN_1}),
        ({"after_failure": True, "kinds": ["thinking"]}, {THINK_2}),
        ({"after_failure": False, "kinds": ["thinking"]}, {THINK_1}),
        ({"after_labels": ["COMPILATION_ERROR"]}, {THINK_2, ANSWER_2, SEEN_2}),
        ({"after_labels": ["TIMEOUT"]}, set()),
        ({"last": True}, {THINK_2, ANSWER_2, SEEN_2}),
        ({"last": False}, {THINK_1, ANSWER_1, SEEN_1}),
        ({"min_attempt": 2}, {THINK_2, ANSWER_2, SEEN_2}),
        ({"max_attempt": 1, "kinds": ["observation"]}, {SEEN_1}),
        ({"verdicts": ["PASS"], "kinds": ["answer"]}, {ANSWER_1, ANSWER_2}),
        ({"verdicts": ["TIMEOUT"]}, set()),
        ({"domains": ["embedded"], "kinds": ["thinking"]}, {THINK_1, THINK_2}),
        ({"domains": ["cad_3d"]}, set()),
    ],
)
def test_each_condition(conditions, runs):
    assert touched(**conditions) == runs


def test_attempts_that_were_not_executed_neither_failed_nor_passed():
    unknown = (None, None)
    assert (
        touched(unknown, failed=True) == touched(unknown, failed=False) == touched(unknown, after_failure=True) == set()
    )


def test_factors_multiply():
    rules = [
        LossRule(factor=0.3, kinds=["answer"], failed=True),
        LossRule(factor=1.5, kinds=["thinking"], after_failure=True),
        LossRule(factor=2.0, last=True),
    ]
    weights = LossWeights(KINDS, rules).of_runs(document())
    expected = {THINK_1: 1.0, ANSWER_1: 0.3, SEEN_1: 0.0, THINK_2: 3.0, ANSWER_2: 2.0, SEEN_2: 0.0}
    assert {run: pytest.approx(weights[run]) for run in expected} == expected
    assert weights[0] == 0 and weights.dtype == np.float32


def test_batches_weigh_the_predicted_token(run_paths, data_config):
    prepared = prepare(data_config(), run_paths, seed=1)
    only_last = LossWeights(KINDS, [LossRule(factor=0, last=False), LossRule(factor=0.25, kinds=["answer"])])
    pack = max(prepared.plan.packs(0), key=lambda pack: len(pack.documents))
    batch = Collator(prepared.train, only_last, pad_id=0)(pack)
    expected, start = [], 0
    for index in pack.documents:
        document = prepared.train[index]
        last = max(run.attempt for run in document.runs)
        tokens = [run for run in document.runs for _ in range(run.length)]
        for position, run in enumerate(tokens[1:]):
            if run.attempt == last and run.kind in (Kind.THINKING, Kind.ANSWER):
                weight = 1.0 if run.kind is Kind.THINKING else 0.25
                expected.append((start + position, int(document.ids[position + 1]), weight))
        start += len(tokens)
    assert list(zip(batch.row_index.tolist(), batch.labels.tolist(), batch.weights.tolist(), strict=True)) == expected


def test_the_log_counts_the_tokens_of_each_rule(run_paths, data_config):
    store = prepare(data_config(), run_paths, seed=1).train
    rules = [LossRule(factor=1, kinds=["thinking"]), LossRule(factor=1, domains=["general"])]
    counts = count_touched(rules, store, range(len(store)))
    assert counts[0] == store.kind_counts[:, Kind.THINKING].sum()
    assert counts[1] == store.kind_counts[store.domains == 5][:, 1:].sum()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"factor": -1}, "greater than or equal to 0"),
        ({"factor": float("nan")}, "finite"),
        ({"factor": 1, "min_attempt": 3, "max_attempt": 2}, "no attempt"),
        ({"factor": 1, "kinds": ["prompt"]}, "'thinking', 'answer' or 'observation'"),
        ({"factor": 1, "label": ["PASS"]}, "did you mean 'labels'"),
    ],
)
def test_rules_that_cannot_work_are_refused(rule, message):
    with pytest.raises(ConfigError) as error:
        validate_config(LossRule, rule, "here")
    assert message in str(error.value)
