"""Where rows may lie: folders of files, data sets that `datasets` wrote, the hub; each named when it cannot be read."""

import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecot.config import validate_config
from ecot.data_mix.config import SourceConfig
from ecot.data_mix.prepare import prepare
from ecot.data_mix.source_files import fetch
from ecot.data_mix.sources import count_rows, read_parts
from ecot.errors import ConfigError, DataError
from ecot.run_paths import RunPaths
from ecot.trajectory_io import write_trajectories

REVISION = "0123456789" * 4
ROWS = [{"prompt": f"Question {n}", "completion": f"<think>\nThought {n}\n</think>\n\nAnswer {n}"} for n in range(5)]


def read(source):
    return [row for part in read_parts(source, 2) for row in part.rows()]


@pytest.fixture
def mixed_folder(tmp_path):
    """JSONL and Parquet in several folders, hidden files and others between them."""
    folder = tmp_path / "set"
    (folder / "b").mkdir(parents=True)
    (folder / ".cache").mkdir()
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:2]) + "not json\n")
    pq.write_table(pa.Table.from_pylist(ROWS[2:4]), folder / "b" / "part-0.parquet")
    (folder / "b" / "part-1.jsonl").write_text(json.dumps(ROWS[4]) + "\n")
    (folder / ".cache" / "old.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    (folder / "README.md").write_text("about")
    return folder


def test_a_folder_of_files_is_read_in_the_order_of_their_names(mixed_folder):
    source = SourceConfig(path=mixed_folder)
    rows = read(source)
    places = [row.place.removeprefix(str(mixed_folder)) for row in rows]
    expected = ["/a.jsonl:1", "/a.jsonl:2", "/a.jsonl:3", "/b/part-0.parquet:row 1", "/b/part-0.parquet:row 2"]
    assert places == [*expected, "/b/part-1.jsonl:1"]
    assert [row.trajectory is None for row in rows] == [False, False, True, False, False, False]
    ids = [row.trajectory.id for row in rows if row.trajectory]
    assert ids == ["a-1", "a-2", "part-0-1", "part-0-2", "part-1-1"]
    assert count_rows(source) == 6


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("a.json", "jq -c"),
        ("a.jsonl.gz", "unpack it"),
        ("a.csv", "allowed: .jsonl, .parquet, or a folder"),
        ("folder", "holds no .jsonl or .parquet file"),
        ("nowhere", "no such file"),
    ],
)
def test_what_cannot_be_read_is_named_with_a_remedy(tmp_path, name, complaint):
    if name == "folder":
        (tmp_path / name).mkdir()
    elif name != "nowhere":
        (tmp_path / name).write_text("[]")
    with pytest.raises(DataError) as error:
        read(SourceConfig(path=tmp_path / name))
    assert complaint in str(error.value) and name in str(error.value)


def test_one_split_of_a_written_data_set(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    splits = {"train": datasets.Dataset.from_list(ROWS[:3]), "test": datasets.Dataset.from_list(ROWS[3:])}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "set"))
    source = SourceConfig(path=tmp_path / "set", split="test")
    assert [row.trajectory.messages[0].content for row in read(source)] == ["Question 3", "Question 4"]
    assert count_rows(source) == 2
    with pytest.raises(DataError, match="several splits \\(train, test\\); say which one with split"):
        read(SourceConfig(path=tmp_path / "set"))
    with pytest.raises(DataError, match="'dev' is none of them"):
        read(SourceConfig(path=tmp_path / "set", split="dev"))


def test_a_hub_data_set_is_fetched_once_and_not_asked_for_again(tmp_path, monkeypatch):
    """A script-free local folder laid out like a data set of the hub goes through the same `load_dataset`."""
    pytest.importorskip("datasets", reason="needs the package datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "owner" / "name"
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(ROWS[:3]), folder / "data" / "train-00000-of-00001.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS[3:]), folder / "data" / "test-00000-of-00001.parquet")
    hub = {"id": str(folder), "revision": REVISION, "split": "test"}
    source = fetch(SourceConfig(hub=hub), tmp_path / "run")
    assert [row.trajectory.messages[0].content for row in read(source)] == ["Question 3", "Question 4"]
    (folder / "data" / "test-00000-of-00001.parquet").unlink()
    assert fetch(SourceConfig(hub=hub), tmp_path / "run") == source
    with pytest.raises(DataError, match=r"split dev, revision 0123456789.*cannot be had from the hub"):
        fetch(SourceConfig(hub={**hub, "split": "dev"}), tmp_path / "run")


def test_a_hub_that_cannot_be_reached_is_said_with_the_way_around_it(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="needs the package datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = SourceConfig(hub={"id": "nobody/nothing", "revision": REVISION})
    with pytest.raises(DataError) as error:
        fetch(source, tmp_path / "run")
    assert "nobody/nothing" in str(error.value) and "give its folder as path" in str(error.value)
    assert not list((tmp_path / "run").glob("*"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "either path"),
        ({"path": "x", "hub": {"id": "a/b", "revision": REVISION}}, "not both"),
        ({"hub": {"id": "a/b", "revision": "main"}}, "hub.revision"),
        ({"hub": {"id": "a/b"}}, "hub.revision"),
    ],
)
def test_a_source_has_one_place_and_a_fixed_revision(values, message):
    with pytest.raises(ConfigError) as error:
        validate_config(SourceConfig, values, "here")
    assert message in str(error.value)


def test_a_run_takes_folders_and_hub_sets_side_by_side(tmp_path, trajectories, data_config, caplog, monkeypatch):
    pytest.importorskip("datasets", reason="needs the package datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    write_trajectories(tmp_path / "own" / "a.jsonl", trajectories[:60])
    write_trajectories(tmp_path / "own" / "b.parquet", trajectories[60:])
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    sources = [{"path": str(tmp_path / "own")}, {"hub": {"id": str(hub), "revision": REVISION}, "domain": "general"}]
    with caplog.at_level(logging.INFO, "ecot"):
        prepared = prepare(data_config(sources=sources), RunPaths(tmp_path / "run"), seed=1)
    assert len(prepared.train) == 125
    assert "format trajectory, told from the keys attempts" in caplog.text
    assert "format prompt_completion, told from the keys completion, prompt" in caplog.text
    again = prepare(data_config(sources=sources), RunPaths(tmp_path / "run"), seed=1)
    assert again.plan.hash == prepared.plan.hash
