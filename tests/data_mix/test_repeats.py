"""What occurs more than once, against a plain count; rows that cannot be referred to are not remembered."""

from collections import Counter
from dataclasses import replace

import pytest

from ecot.data_mix.config import SourceConfig
from ecot.data_mix.filter_config import FilterConfig
from ecot.data_mix.repeats import Repeats
from ecot.data_mix.selection import make_filters, select
from ecot.data_mix.store_builder import StoreBuilder
from ecot.data_mix.text_keys import normalised_key
from ecot.progress import no_progress
from ecot.trajectory_io import write_trajectories


@pytest.fixture
def rows(trajectories):
    """60 rows, of which some say the same and some have an id of an earlier one."""
    said_again = [replace(trajectories[number], id=f"again-{number}") for number in (3, 3, 17, 30)]
    same_ids = [replace(trajectories[60 + number], id=trajectories[number].id) for number in (5, 40)]
    return [*trajectories[:54], *said_again, *same_ids]


@pytest.fixture
def shards(tmp_path, tokenizer, data_config, rows):
    tokenizer.save_pretrained(tmp_path / "tok")
    write_trajectories(tmp_path / "rows.jsonl", rows)
    with (tmp_path / "rows.jsonl").open("a") as handle:
        handle.write("no row\n")
    config = data_config(max_refused=0.5)
    source = SourceConfig(path=tmp_path / "rows.jsonl")
    StoreBuilder(config, [source], tmp_path / "tok", tmp_path / "store", 7).build(no_progress)
    return sorted((tmp_path / "store").glob("shard-*"))


def test_repeats_are_those_of_a_plain_count(shards, rows, tmp_path):
    repeats = Repeats.of_shards(shards)
    keys = Counter(normalised_key(row) for row in rows)
    identities = Counter(row.id for row in rows)
    for number, row in enumerate(rows, start=1):
        assert repeats.has_key(normalised_key(row)) == (keys[normalised_key(row)] > 1)
        assert repeats.has_identity(f"{tmp_path}/rows.jsonl:{number}", row.id) == (identities[row.id] > 1)
    assert len(repeats.keys) == len(repeats.identities) == 3
    assert Repeats.of_shards([]) == Repeats(frozenset(), frozenset())


def test_only_repeated_rows_are_remembered(shards, tmp_path, monkeypatch):
    kept = []

    def watched(*arguments):
        kept[:] = make_filters(*arguments)
        return kept

    monkeypatch.setattr("ecot.data_mix.selection.make_filters", watched)
    selection = select(shards, FilterConfig(), str)
    assert len(selection.kept) == 54
    assert len(kept[0].places) == 3
