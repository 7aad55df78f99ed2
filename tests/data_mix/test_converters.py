"""Layouts in the wild become the same conversation, or are refused for a stated reason."""

import json

import pytest

from ecot.data_mix.config import SourceConfig
from ecot.data_mix.converters import convert
from ecot.data_mix.messages import split_thinking
from ecot.data_mix.sources import describe_format, read_parts
from ecot.errors import DataError
from ecot.outcomes import Domain
from ecot.trajectories import Message, Role, TurnKind, parse_trajectory

EXPECTED = (
    Message(Role.SYSTEM, "Be brief."),
    Message(Role.USER, "An adder."),
    Message(Role.ASSISTANT, "```\nbad\n```", "Hm."),
    Message(Role.OBSERVATION, "syntax error"),
    Message(Role.ASSISTANT, "```\ngood\n```", "Ah."),
)
SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": "An adder."}


def field_messages(thinking="reasoning_content", feedback="tool"):
    return [
        SYSTEM,
        ASKED,
        {"role": "assistant", "content": "```\nbad\n```", thinking: "Hm."},
        {"role": feedback, "content": "syntax error"},
        {"role": "assistant", "content": "```\ngood\n```", thinking: "Ah."},
    ]


def tagged_messages(opening="<think>\n"):
    texts = [f"{opening}Hm.\n</think>\n\n```\nbad\n```", "syntax error", f"{opening}Ah.</think>```\ngood\n```"]
    roles = ["assistant", "tool", "assistant"]
    return [SYSTEM, ASKED, *({"role": r, "content": c} for r, c in zip(roles, texts, strict=True))]


def sharegpt(names=("human", "gpt", "tool")):
    human, gpt, tool = names
    texts = ["An adder.", "<think>Hm.</think>```\nbad\n```", "syntax error", "<think>\nAh.\n</think>\n```\ngood\n```"]
    return [{"from": n, "value": v} for n, v in zip([human, gpt, tool, gpt], texts, strict=True)]


TWICE = [dict(m, thinking=m.get("reasoning_content")) for m in field_messages()[2:]]
PARTS = [{"type": "text", "text": "An "}, {"type": "text", "text": "adder."}]
LAYOUTS = {
    "reasoning_content": {"messages": field_messages()},
    "thinking field": {"messages": field_messages("thinking", "function")},
    "reasoning field": {"messages": field_messages("reasoning", "observation")},
    "tags": {"messages": tagged_messages()},
    "tags opened by the prompt": {"messages": tagged_messages("")},
    "content parts": {"messages": [SYSTEM, {"role": "user", "content": PARTS}, *field_messages()[2:]]},
    "other names of roles": {
        "messages": [dict(SYSTEM, role="developer"), dict(ASKED, role="Human"), *field_messages()[2:]]
    },
    "sharegpt": {"system": "Be brief.", "conversations": sharegpt()},
    "sharegpt, other names": {"system": "Be brief.", "conversations": sharegpt(("user", "assistant", "observation"))},
    "lists of prompt and completion": {"prompt": field_messages()[:4], "completion": field_messages()[4:]},
    "a system message beside the turns": {"system": "Be brief.", "messages": field_messages()[1:]},
    "a thought that is given twice": {"messages": [SYSTEM, ASKED, *TWICE]},
    "no calls": {"messages": [dict(m, tool_calls=[], function_call=None) for m in field_messages()]},
    "ignored keys": {"messages": [dict(m, name=None, id="x") for m in field_messages()]},
    "weights of one": {"messages": [dict(m, weight=1, train=True) for m in field_messages()]},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_become_the_same_conversation(name, tmp_path):
    source = SourceConfig(path=tmp_path / "set.jsonl")
    trajectory = parse_trajectory(convert(LAYOUTS[name], source, "set.jsonl:3"), "set.jsonl:3")
    assert trajectory.messages == EXPECTED
    assert (trajectory.id, trajectory.verdict, trajectory.attempts) == ("set-3", None, ())
    assert trajectory.domain is Domain.GENERAL and trajectory.provenance.generator == "set.jsonl"


def test_feedback_in_user_turns(tmp_path):
    raw = {"messages": field_messages(feedback="user"), "id": 7, "domain": "embedded"}
    feedback = SourceConfig(path=tmp_path / "a.jsonl", user_feedback=True)
    assert parse_trajectory(convert(raw, feedback, "a:1"), "a:1").messages == EXPECTED
    plain = parse_trajectory(convert(raw, SourceConfig(path=tmp_path / "a.jsonl"), "a:1"), "a:1")
    assert plain.messages[3] == Message(Role.USER, "syntax error")
    assert (plain.id, plain.domain) == ("7", Domain.EMBEDDED)


@pytest.mark.parametrize(
    "raw",
    [
        {"prompt": "Q", "completion": "<think>\nT\n</think>\n\nA"},
        {"instruction": "Q", "output": "A", "reasoning": "T"},
        {"question": "Q", "answer": "T</think>A"},
        {"problem": "Q", "solution": "A", "thinking": "T", "input": ""},
        {"prompt": "", "problem": "Q", "answer": None, "response": [], "solution": "A", "thinking": "T"},
    ],
)
def test_prompt_and_completion(raw, tmp_path):
    trajectory = parse_trajectory(convert(raw, SourceConfig(path=tmp_path / "a.jsonl"), "a:1"), "a:1")
    assert trajectory.messages == (Message(Role.USER, "Q"), Message(Role.ASSISTANT, "A", "T"))


def test_turns_that_are_not_to_be_trained_become_context(tmp_path):
    """Elsewhere such a flag is dropped without a word, and the turn is trained."""
    turns = field_messages()
    turns[2]["weight"], turns[4]["train"] = 0, True
    source = SourceConfig(path=tmp_path / "a.jsonl")
    messages = parse_trajectory(convert({"messages": turns}, source, "a:1"), "a:1").messages
    assert [message.kind for message in messages] == [None, None, TurnKind.PROMPT, None, None]
    turns[4]["train"] = False
    with pytest.raises(DataError, match="more than context; nothing to train"):
        parse_trajectory(convert({"messages": turns}, source, "a:1"), "a:1")


def test_tool_calls_and_several_results(tmp_path):
    call = {"type": "function", "function": {"name": "run", "arguments": '{"file": "größe.v"}'}}
    raw = {
        "messages": [
            ASKED,
            {"role": "assistant", "content": None, "reasoning_content": "T", "tool_calls": [call, call]},
            {"role": "tool", "content": "one", "tool_call_id": "1"},
            {"role": "tool", "content": "two", "tool_call_id": "2"},
            {"role": "assistant", "content": "done"},
        ]
    }
    messages = parse_trajectory(convert(raw, SourceConfig(path=tmp_path / "a.jsonl"), "a:1"), "a:1").messages
    written = '<tool_call>\n{"name": "run", "arguments": {"file": "größe.v"}}\n</tool_call>'
    assert messages[1:3] == (
        Message(Role.ASSISTANT, f"{written}\n{written}", "T"),
        Message(Role.OBSERVATION, "one\ntwo"),
    )


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"messages": []}, "'messages': must be a list of messages, not an empty list"),
        ({"messages": "hi"}, "not str"),
        ({"messages": [1]}, "messages.0': a message must be an object"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "messages.0.role': unknown role 'critic'"),
        ({"messages": [{"role": None, "content": "x"}]}, "unknown role None"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content': must be text, not int"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "only parts of type text"),
        (
            {"messages": [{"role": "user", "content": "x", "images": ["a"]}]},
            "keys images of a message of role user hold text",
        ),
        ({"messages": [ASKED, {"role": "assistant", "content": "x", "weight": 0.5}]}, "messages.1.weight'"),
        ({"messages": [ASKED, {"role": "assistant", "content": "x", "train": "no"}]}, "only 0 and 1 are taken over"),
        (
            {"messages": [ASKED, {"role": "assistant", "content": "x", "train": False, "weight": 1}]},
            "says both that it",
        ),
        ({"messages": [ASKED, {"role": "assistant", "content": "x", "weight": float("nan")}]}, "messages.1.weight'"),
        ({"messages": [ASKED, {"role": "assistant", "content": "<think>a"}]}, "1 <think> and 0 </think>"),
        ({"messages": [ASKED, {"role": "assistant", "content": "a<think>b</think>"}]}, "at the beginning"),
        ({"messages": [ASKED, {"role": "assistant", "content": "<think>a</think><think>b</think>"}]}, "2 <think>"),
        (
            {"messages": [ASKED, {"role": "assistant", "content": "<think>a</think>b", "thinking": "c"}]},
            "a field of thinking as well",
        ),
        ({"messages": [ASKED, {"role": "assistant", "content": "x", "thinking": ["c"]}]}, "thinking must be text"),
        ({"messages": [ASKED, {"role": "assistant", "tool_calls": [{"function": {}}]}]}, "must name a function"),
        (
            {"messages": [ASKED, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}]},
            "tool_calls.0.arguments': not JSON",
        ),
        ({"messages": [ASKED], "tools": [{"name": "f"}]}, "'tools'"),
        ({"conversations": [{"role": "user"}]}, "'from' and 'value'"),
        ({"conversations": None}, "must be a list of turns"),
        ({"prompt": 3, "completion": "x"}, "field 'prompt': must be text"),
        ({"prompt": "x", "completion": None}, "field 'completion': must be text"),
        ({"problem": "Q", "solution": "long", "answer": "42"}, "only one of answer, solution may hold"),
        ({"prompt": "Q", "question": "R", "answer": "42"}, "only one of prompt, question may hold"),
        ({"problem": "Q", "solution": "long", "answer": 42}, "remove the others, or write the row as messages"),
        (
            {"messages": [ASKED, {"role": "assistant", "content": "x", "reasoning_content": "a", "thinking": "b"}]},
            "reasoning_content and thinking hold different thoughts",
        ),
        ({"prompt": "Q", "completion": "A", "reasoning": "a", "thinking": "b"}, "one would be dropped"),
        ({"messages": [dict(ASKED, tool_calls=[{"name": "f"}])]}, "keys tool_calls of a message of role user"),
        ({"messages": [dict(ASKED, reasoning_content="users think")]}, "keys reasoning_content of a message of"),
        ({"messages": [ASKED, {"role": "assistant", "content": None, "refusal": "No."}]}, "keys refusal"),
        (
            {"messages": [ASKED, {"role": "assistant", "tool_calls": [{"name": "f"}], "function_call": {"name": "g"}}]},
            "one of them would be dropped",
        ),
        ({"messages": [ASKED, {"role": "assistant", "tool_calls": "run()"}]}, "tool_calls': must be a list, not str"),
        ({"messages": [ASKED], "thinking": "aside"}, "field 'thinking': stands beside the turns"),
        ({"messages": [ASKED], "conversations": sharegpt()}, "messages and conversations, and one of them would"),
        ({"messages": [SYSTEM, ASKED], "system": ["x"]}, "field 'system': must be text, not list"),
        ({"instruction": "Q", "output": "A", "history": [["q", "a"]]}, "field 'history': stands beside the turns"),
        ({"instruction": "Q", "output": "A", "input": ["x"]}, "field 'input': must be text, not list"),
        ({"prompt": [ASKED], "completion": [ASKED], "input": "more"}, "field 'input': stands beside the turns"),
        ({"prompt": "Q", "completion": "A", "tools": "[]"}, "field 'tools'"),
        ({"text": "just text"}, "unknown format, its keys are text"),
        ({}, "its keys are none"),
        ({"messages": field_messages(), "domain": "poetry"}, "field 'domain': 'poetry'"),
    ],
)
def test_unclear_rows_are_refused(raw, complaint, tmp_path):
    with pytest.raises(DataError) as error:
        convert(raw, SourceConfig(path=tmp_path / "a.jsonl"), "a.jsonl:9")
    assert complaint in str(error.value) and str(error.value).startswith("a.jsonl:9: ")


def test_text_without_tags_is_an_answer():
    assert split_thinking("no tags", "f") == (None, "no tags")
    assert split_thinking("  <think>\n\na\n\nb\n</think>\n\n\nc\n", "f") == ("a\n\nb", "c\n")


def test_a_datasets_folder_is_a_source(tmp_path, trajectories):
    datasets = pytest.importorskip("datasets")
    rows = [{"messages": field_messages(), "domain": "cad_3d"}, {"messages": [ASKED], "domain": "cad_3d"}]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "set"))
    read = [row for part in read_parts(SourceConfig(path=tmp_path / "set"), 1) for row in part.rows()]
    assert read[0].trajectory.messages == EXPECTED and read[0].domain is Domain.CAD_3D
    assert read[1].trajectory is None and "no assistant" in read[1].reason
    assert [row.place.rpartition(":")[2] for row in read] == ["row 1", "row 2"]
    datasets.DatasetDict({"a": datasets.Dataset.from_list(rows)}).save_to_disk(str(tmp_path / "splits"))
    with pytest.raises(DataError, match="several splits"):
        list(read_parts(SourceConfig(path=tmp_path / "splits")))


def test_parquet_rows_of_our_own_schema_and_of_others(tmp_path, trajectories):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ecot.trajectory_io import write_trajectories

    write_trajectories(tmp_path / "own.parquet", trajectories[:3])
    own = [row.trajectory for part in read_parts(SourceConfig(path=tmp_path / "own.parquet")) for row in part.rows()]
    assert own == trajectories[:3]
    pq.write_table(pa.Table.from_pylist([{"conversations": sharegpt()}]), tmp_path / "other.parquet")
    (other,) = [row for part in read_parts(SourceConfig(path=tmp_path / "other.parquet")) for row in part.rows()]
    assert other.trajectory.messages == EXPECTED[1:]


def test_a_fixed_format_is_not_guessed(tmp_path):
    source = SourceConfig(path=tmp_path / "a.jsonl", format="sharegpt")
    with pytest.raises(DataError, match="must be a list of turns"):
        convert({"messages": field_messages()}, source, "a:1")
    json.dumps(LAYOUTS)  # all layouts are plain JSON


def test_the_log_says_what_a_format_was_told_from(tmp_path):
    lines = ["not json", json.dumps({"conversations": sharegpt()})]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    auto, fixed = (SourceConfig(path=tmp_path / "a.jsonl", format=form) for form in ("auto", "messages"))
    assert describe_format(next(read_parts(auto))) == "format sharegpt, told from the keys conversations"
    assert describe_format(next(read_parts(fixed))) == "format messages, as configured"
    (tmp_path / "b.jsonl").write_text("[]\n")
    assert describe_format(next(read_parts(SourceConfig(path=tmp_path / "b.jsonl")))) == "no row that can be read"
