"""Boilerplate and filler leave the thoughts, by configured patterns, and the account says how much of what."""

from dataclasses import replace

import pytest

from ecot.config import validate_config
from ecot.data_mix.config import SourceConfig
from ecot.data_mix.filter_config import ThoughtsConfig
from ecot.data_mix.ledger import Fate
from ecot.data_mix.store_builder import StoreBuilder
from ecot.data_mix.thought_edits import Edit, ThoughtEditor
from ecot.errors import ConfigError
from ecot.progress import no_progress
from ecot.segments import Kind
from ecot.trajectory_io import write_trajectories


def with_thought(trajectory, thought, index=2):
    messages = list(trajectory.messages)
    messages[index] = replace(messages[index], reasoning_content=thought)
    return replace(trajectory, messages=tuple(messages))


@pytest.mark.parametrize(
    ("thought", "left", "removed"),
    [
        ("As an AI language model, I cannot run it. The reset is late.", "The reset is late.", "self_reference"),
        ("The carry is lost. I hope this helps!", "The carry is lost.", "courtesy"),
        ("Okay, so, well, the latch is open.", "the latch is open.", "stacked_filler"),
        ("So the latch is open.", "So the latch is open.", None),
        ("a\nCheck the carry.\nCheck the carry.\nCheck the carry.\nb", "a\nCheck the carry.\nb", "repeated_line"),
        ("Check the carry.\nCheck the carry.\nb", "Check the carry.\nCheck the carry.\nb", None),
        ("Let me know if you need more.", None, "courtesy"),
    ],
)
def test_shipped_patterns(make_trajectory, thought, left, removed):
    trajectory = with_thought(make_trajectory(1), thought)
    edited, edits = ThoughtEditor(ThoughtsConfig(shipped=True)).apply(trajectory)
    assert edited.messages[2].reasoning_content == left
    assert [edit.name for edit in edits] == ([removed] if removed else [])
    assert (
        edited.messages[3:] == trajectory.messages[3:] and edited.messages[2].content == trajectory.messages[2].content
    )


def test_patterns_of_ones_own_apply_in_order_to_thoughts_only(make_trajectory):
    config = ThoughtsConfig.model_validate(
        {"remove": [{"name": "tags", "pattern": r"\[(\w+)\]", "replacement": r"\1"}, {"name": "hm", "pattern": "Hm "}]}
    )
    trajectory = with_thought(make_trajectory(1), "[Hm] the [reset]")
    answer = replace(trajectory.messages[2], content="[Hm] stays")
    trajectory = replace(trajectory, messages=(*trajectory.messages[:2], answer, *trajectory.messages[3:]))
    edited, edits = ThoughtEditor(config).apply(trajectory)
    assert edited.messages[2].reasoning_content == "the reset" and edited.messages[2].content == "[Hm] stays"
    assert edits == (Edit("tags", ("[Hm]", "[reset]")), Edit("hm", ("Hm ",)))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"name": "a", "pattern": "("}, "pattern a: no regular expression"),
        ({"name": "a", "pattern": "x*"}, "matches the empty text"),
        ({"name": "a", "pattern": "x", "replacement": r"\2"}, "invalid group reference"),
        ({"name": "a b", "pattern": "x"}, "remove.0.name"),
    ],
)
def test_patterns_that_cannot_work_are_refused(pattern, message):
    with pytest.raises(ConfigError) as error:
        validate_config(ThoughtsConfig, {"remove": [pattern]}, "here")
    assert message in str(error.value)


def test_what_was_taken_out_is_counted_in_rows_and_tokens_with_samples(tmp_path, tokenizer, data_config, trajectories):
    tokenizer.save_pretrained(tmp_path / "tok")
    filler = "As an AI model, I think. "
    rows = [with_thought(t, filler + t.messages[2].reasoning_content) for t in trajectories[:7]] + trajectories[7:20]
    write_trajectories(tmp_path / "rows.jsonl", rows)
    source = SourceConfig(path=tmp_path / "rows.jsonl")

    def build(**options):
        return StoreBuilder(data_config(**options), [source], tmp_path / "tok", tmp_path / "store").build(no_progress)

    plain = build()
    edited = build(thoughts={"shipped": True})
    assert edited.key != plain.key
    cut = [(e.reason, t.rows, t.tokens) for e, t in edited.ledger.lines.items() if e.fate is Fate.CUT]
    assert {reason for reason, _, _ in cut} == {"thought:self_reference"}
    assert sum(count for _, count, _ in cut) == 7
    tokens = len(tokenizer(filler, add_special_tokens=False)["input_ids"])
    assert sum(count for _, _, count in cut) == 7 * tokens
    assert "'As an AI model, I think. '" in edited.manifest["samples"]["thought:self_reference"][0]
    thinking = plain.kind_counts[:, Kind.THINKING].sum() - edited.kind_counts[:, Kind.THINKING].sum()
    assert abs(int(thinking) - 7 * tokens) <= 7  # the words beside it may be tokenised otherwise
    assert len(edited) == len(plain) == 20
