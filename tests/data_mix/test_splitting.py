"""Trajectories longer than a pack: cut, dropped or split at turn boundaries, with every lost token in the account.

What breaks elsewhere: rows are cut at a token, in the middle of a thought, or prompt and answer are shortened in
proportion; a row of which only the prompt fits trains on nothing, with a loss of 0 or not a number.
"""

import pytest

from ecot.data_mix.config import OverLong, SourceConfig
from ecot.data_mix.documents import DocumentMaker
from ecot.data_mix.ledger import Fate
from ecot.data_mix.splitting import Conversation
from ecot.data_mix.store_builder import StoreBuilder
from ecot.errors import DataError
from ecot.progress import no_progress
from ecot.segments import SUPERVISED_KINDS, Kind
from ecot.trajectories import Message, Role, TurnKind
from ecot.trajectory_io import write_trajectories


def by_attempt(renderer, code, kinds):
    """{attempt: text of its tokens of some kinds}, of one document."""
    texts, position = {}, 0
    for run in code.runs:
        if run.kind in kinds:
            text = renderer.decode(code.ids[position : position + run.length].tolist())
            texts[run.attempt] = texts.get(run.attempt, "") + text
        position += run.length
    return texts


def trained(renderer, codes, kinds=SUPERVISED_KINDS):
    """The same over documents; an attempt that is trained in two of them is an error."""
    texts = {}
    for code in codes:
        own = by_attempt(renderer, code, kinds)
        assert not set(own) & set(texts)
        texts |= own
    return texts


@pytest.mark.parametrize("past", ["keep", "strip", "expand"])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_split_documents_train_every_turn_once_and_fit(make_renderer, make_trajectory, past, share):
    renderer = make_renderer(past_thinking=past)
    trajectory = make_trajectory(11, turns=6, words=14)
    (whole,) = DocumentMaker(renderer, 100_000, OverLong.SPLIT).make([trajectory])
    room = int(max(len(document.encoded.ids) for document in whole.documents) * share)
    (made,) = DocumentMaker(renderer, room, OverLong.SPLIT).make([trajectory])
    codes = [document.encoded for document in made.documents]
    assert len(codes) > 1 and all(len(code.ids) <= room for code in codes)
    expected = trained(renderer, [document.encoded for document in whole.documents])
    found = trained(renderer, codes)
    assert list(found) == list(expected) == [1, 2, 3, 4, 5, 6]
    assert made.lost.supervised == made.lost.rows == 0
    for attempt, text in found.items():
        if past == "strip" and text != expected[attempt]:  # a window's last turn keeps its thought
            assert text.endswith(expected[attempt]) and text.startswith("<think>")
        else:
            assert text == expected[attempt]
    seen = trained(renderer, codes, [Kind.OBSERVATION])
    full = trained(renderer, [document.encoded for document in whole.documents], [Kind.OBSERVATION])
    assert seen == full


def test_later_documents_show_the_opening_and_the_turn_before(make_renderer, make_trajectory):
    renderer = make_renderer()
    trajectory = make_trajectory(11, turns=4, words=14)
    whole = DocumentMaker(renderer, 100_000, OverLong.SPLIT).make([trajectory])[0].documents[0].encoded
    (made,) = DocumentMaker(renderer, len(whole.ids) - 20, OverLong.SPLIT).make([trajectory])
    first, second = (document.encoded for document in made.documents)
    text = renderer.decode(second.ids.tolist())
    opening = renderer.generation_prompt(trajectory.messages[:2])
    assert text.startswith(opening)
    held = [number for number in range(4) if f"module m11_{number};" in text]
    trained_here = sorted(by_attempt(renderer, second, SUPERVISED_KINDS))
    assert [number + 1 for number in held] == [trained_here[0] - 1, *trained_here]  # one more than is trained
    assert sorted(by_attempt(renderer, first, SUPERVISED_KINDS)) == list(range(1, trained_here[0]))
    # It ends with the observation after the last attempt, as the conversation does; the first ends with its answer.
    assert renderer.decode(first.ids.tolist()).endswith("```<|im_end|>\n")
    assert text.endswith(f"{trajectory.messages[-1].content}<|im_end|>\n")


def test_a_turn_that_fits_nowhere_is_lost_and_counted(make_renderer, make_trajectory, tokenizer):
    renderer = make_renderer()
    trajectory = make_trajectory(12, turns=3, words=10)
    messages = list(trajectory.messages)
    messages[4] = Message(Role.ASSISTANT, messages[4].content, "long " * 3000)
    trajectory = type(trajectory)(**{**vars(trajectory), "messages": tuple(messages)})
    (made,) = DocumentMaker(renderer, 1000, OverLong.SPLIT).make([trajectory])
    found = trained(renderer, [document.encoded for document in made.documents])
    assert sorted(found) == [1, 3]
    lost = f"<think>\n{messages[4].reasoning_content}\n</think>\n\n{messages[4].content}<|im_end|>"
    expected = len(tokenizer(lost, add_special_tokens=False)["input_ids"])
    assert (made.lost.rows, made.lost.supervised) == (1, expected)
    # The third attempt still sees the code and the error that it answers, without the thought that fills a pack.
    last = renderer.decode(made.documents[-1].encoded.ids.tolist())
    assert messages[4].content in last and messages[5].content in last and "long long" not in last


@pytest.mark.parametrize("over_long", ["cut_turns", "drop", "split"])
@pytest.mark.parametrize("past", ["keep", "strip", "expand"])
def test_no_document_ends_inside_a_thought(make_renderer, make_trajectory, over_long, past):
    renderer = make_renderer(past_thinking=past)
    for number in range(6):
        trajectory = make_trajectory(number, turns=4, words=20)
        for room in (150, 300, 600):
            (made,) = DocumentMaker(renderer, room, OverLong(over_long)).make([trajectory])
            for document in made.documents:
                text = renderer.decode(document.encoded.ids.tolist())
                assert text.endswith("<|im_end|>\n")
                assert text.count("<think>") == text.count("</think>")
                assert any(run.kind in SUPERVISED_KINDS for run in document.encoded.runs)


def test_more_than_5_percent_lost_stops_the_run_unless_allowed(tmp_path, tokenizer, data_config, make_trajectory):
    tokenizer.save_pretrained(tmp_path / "tok")
    rows = [make_trajectory(number, turns=5, words=12) for number in range(12)]
    write_trajectories(tmp_path / "rows.jsonl", rows)
    packing = {"pack_tokens": 300, "global_batch_tokens": 300}

    def build(**options):
        config = data_config(packing=packing, **options)
        source = SourceConfig(path=tmp_path / "rows.jsonl")
        return StoreBuilder(config, [source], tmp_path / "tok", tmp_path / "store").build(no_progress)

    with pytest.raises(DataError, match=r"lose \d+ of \d+ supervised tokens, more than data.max_lost \(0.05\) allows"):
        build(over_long="cut_turns")
    cut = build(over_long="cut_turns", max_lost=1.0)
    split = build(over_long="split")
    assert len(cut) == 12 and len(split) > 24
    whole = cut.ledger.total([Fate.KEPT, Fate.CUT]).supervised
    assert {entry.reason for entry in cut.ledger.lines if entry.fate is Fate.CUT} == {"over_long"}
    assert split.ledger.total([Fate.KEPT]).supervised == whole  # nothing is lost, nothing is trained twice
    assert split.ledger.total([Fate.CUT]).supervised == 0


def test_windows_of_a_dialogue_with_several_questions():
    messages = [Message(Role.USER, "q0")]
    for number in range(3):
        messages += [Message(Role.ASSISTANT, f"a{number}", f"t{number}"), Message(Role.USER, f"q{number + 1}")]
    window = Conversation(messages[:-1]).window(1, 2)
    assert [(m.role, m.content, m.reasoning_content, m.kind) for m in window.messages] == [
        (Role.USER, "q0", None, None),
        (Role.ASSISTANT, "a0", "t0", TurnKind.PROMPT),
        (Role.USER, "q1", None, None),
        (Role.ASSISTANT, "a1", "t1", None),
    ]
    assert (window.next_role, window.shown, list(window.turns)) == (Role.USER, 1, [1])
