import json
from dataclasses import replace

import pytest

from ecot.errors import DataError
from ecot.trajectories import TurnKind, parse_trajectory
from ecot.trajectory_io import read_rows, read_trajectories, write_trajectories


def make_row(**changes):
    attempt = {
        "message_index": 2,
        "code": "module a; endmodule",
        "stage": "check",
        "label": "FUNCTIONAL_MISMATCH",
        "subcode": "",
        "diagnostics": "2 of 10 samples differ",
        "metrics": {"mismatches": 2.0},
        "seconds": 0.1,
        "source": "real",
        "confidence": 1.0,
        "fingerprint": "f",
    }
    row = {
        "id": "t-0",
        "task_id": "t",
        "task_hash": "h",
        "domain": "chip_design",
        "verdict": "PASS",
        "taxonomy_version": "1",
        "messages": [
            {"role": "system", "content": "You write RTL."},
            {"role": "user", "content": "An adder.\u2028é"},
            {"role": "assistant", "content": "```\nbad\n```", "reasoning_content": "Hm."},
            {"role": "observation", "content": "2 of 10 samples differ"},
            {"role": "assistant", "content": "```\ngood\n```", "reasoning_content": "Ah."},
        ],
        "attempts": [attempt, {**attempt, "message_index": 4, "label": "PASS", "diagnostics": ""}],
        "provenance": {"generator": "mechanical", "instruction": "rtl", "seed": 3, "details": {"operators": ["x"]}},
    }
    return {**row, **changes}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_survive_a_round_trip(tmp_path, suffix):
    trajectory = parse_trajectory(make_row(), "here")
    path = tmp_path / f"rows{suffix}"
    assert write_trajectories(path, [trajectory, trajectory]) == 2
    assert list(read_trajectories(path)) == [trajectory, trajectory]
    assert trajectory.to_row() == make_row()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("count", [0, 1024, 2500])
def test_rows_are_written_in_groups_and_none_is_lost(tmp_path, suffix, count):
    path = tmp_path / f"rows{suffix}"
    trajectory = parse_trajectory(make_row(), "here")
    rows = (replace(trajectory, id=f"t{number}") for number in range(count))
    assert write_trajectories(path, rows) == count
    assert [place_and_row[1]["id"] for place_and_row in read_rows(path)] == [f"t{number}" for number in range(count)]


def with_kind(index, kind):
    row = make_row()
    return [dict(message, kind=kind) if i == index else message for i, message in enumerate(row["messages"])]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_turn_keeps_a_kind_of_its_own_on_disk(tmp_path, suffix):
    """An ICWM pair is an assistant turn of kind observation."""
    row = make_row(messages=with_kind(4, "observation"))
    trajectory = parse_trajectory(row, "here")
    assert [message.kind for message in trajectory.messages] == [None, None, None, None, TurnKind.OBSERVATION]
    write_trajectories(tmp_path / f"rows{suffix}", [trajectory, parse_trajectory(make_row(), "here")])
    read = list(read_trajectories(tmp_path / f"rows{suffix}"))
    assert read[0] == trajectory and read[0].to_row() == row
    assert "kind" not in read[1].to_row()["messages"][4]


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"messages": with_kind(3, "prompt")}, "messages.3.kind", "only an assistant's turn"),
        ({"messages": with_kind(4, "answer")}, "messages.4.kind", "'observation' or 'prompt'"),
        (
            {"messages": [*make_row()["messages"][:2], {"role": "assistant", "content": "x", "kind": "prompt"}]},
            "messages",
            "more than context",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages.0", "must answer something"),
        ({"domain": "poetry"}, "domain", "chip_design"),
        ({"verdict": "TIMEOUT"}, "verdict", "the last attempt says PASS"),
        ({"colour": 1}, "colour", "Unexpected keyword"),
        ({"messages": [{"role": "user", "content": "x"}]}, "messages", "no assistant"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content", "valid string"),
        ({"taxonomy_version": "0"}, "taxonomy_version", "run the attempts again"),
        ({"attempts": [{**make_row()["attempts"][0], "message_index": 1}]}, "attempts.0.message_index", "assistant"),
        ({"attempts": [{**make_row()["attempts"][0], "subcode": "syntax"}]}, "attempts.0.subcode", "does not belong"),
        ({"attempts": [{**make_row()["attempts"][0], "label": "TOOL_ERROR"}]}, "attempts.0.label", "never training"),
    ],
)
def test_a_wrong_row_is_refused_with_place_field_and_reason(changes, field, reason):
    with pytest.raises(DataError) as caught:
        parse_trajectory(make_row(**changes), "rows.jsonl:7")
    assert "rows.jsonl:7" in str(caught.value)
    assert f"'{field}" in str(caught.value)
    assert reason in str(caught.value)


def test_a_broken_line_names_its_number(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(make_row()).encode() + b"\n\xff{}\n")
    rows = read_trajectories(path)
    next(rows)
    with pytest.raises(DataError, match=r"rows\.jsonl:2: not a line of JSON"):
        next(rows)


def test_a_torn_parquet_file_is_named(tmp_path):
    path = tmp_path / "rows.parquet"
    write_trajectories(path, [parse_trajectory(make_row(), "here")])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"rows\.parquet: not a Parquet file"):
        list(read_trajectories(path))
