"""From trajectories to a plan: the whole path, twice."""

import os

import pytest

from ecot.data_mix.prepare import prepare
from ecot.errors import BudgetError, DataError


def test_prepare_makes_store_and_plan_and_reuses_them(run_paths, data_config):
    first = prepare(data_config(), run_paths, seed=3)
    files = {path: path.stat().st_mtime_ns for path in run_paths.root.rglob("*") if path.is_file()}
    second = prepare(data_config(), run_paths, seed=3)
    assert second.plan.hash == first.plan.hash
    assert second.summary == first.summary
    assert not [path for path, time in files.items() if path.stat().st_mtime_ns != time]
    assert second.train.key == first.train.key and second.heldout.key == first.heldout.key


def test_unchanged_files_are_not_read_again_and_changed_ones_are(run_paths, data_config):
    """Starting from a finished store must not hash terabytes: size, time and inode say whether a file is the same."""
    first = prepare(data_config(), run_paths, seed=3)
    source = run_paths.trajectories / "train.parquet"
    before = source.stat()
    with source.open("r+b") as handle:
        handle.write(bytes(before.st_size))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert prepare(data_config(), run_paths, seed=3).plan.hash == first.plan.hash
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(DataError, match=r"train\.parquet: cannot be read"):
        prepare(data_config(), run_paths, seed=3)


@pytest.mark.parametrize("name", ["store/train/store.json", "plan/plan.json", "tokenizer/ecot_tokenizer.json"])
def test_what_was_made_is_looked_at_again_when_it_changed(name, run_paths, data_config):
    first = prepare(data_config(), run_paths, seed=3)
    (run_paths.root / name).unlink()
    assert prepare(data_config(), run_paths, seed=3).plan.hash == first.plan.hash
    assert (run_paths.root / name).is_file()


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
