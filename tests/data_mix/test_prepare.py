"""From trajectories to a plan: the whole path, twice."""

import pytest

from ecot.data_mix.prepare import prepare
from ecot.errors import BudgetError


def test_prepare_makes_store_and_plan_and_reuses_them(run_paths, data_config):
    first = prepare(data_config(), run_paths, seed=3)
    files = {path: path.stat().st_mtime_ns for path in run_paths.root.rglob("*") if path.is_file()}
    second = prepare(data_config(), run_paths, seed=3)
    assert second.plan.hash == first.plan.hash
    assert second.summary == first.summary
    rewritten = {path.name for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert rewritten == {"summary.json"}


def test_the_tokenizer_is_trained_again_when_other_rows_are_read(run_paths, data_config):
    path = str(run_paths.trajectories / "train.parquet")
    tokenizers = []
    for options in ({}, {"domains": ["chip_design"]}, {}):
        config = data_config(sources=[{"path": path, **options}], budgets=[{"name": "a", "tokens": 2000}])
        prepare(config, run_paths, seed=3)
        tokenizers.append((run_paths.tokenizer / "tokenizer.json").read_bytes())
    assert tokenizers[0] == tokenizers[2] != tokenizers[1]


def test_filters_that_leave_nothing_are_named(run_paths, data_config):
    with pytest.raises(BudgetError, match=r"no document is left.*data\.filters"):
        prepare(data_config(filters={"verdicts": ["TIMEOUT"]}), run_paths, seed=3)
