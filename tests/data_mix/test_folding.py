"""The folded form: one thought that narrates attempts and observations, kinds and attempts kept inside it."""

import copy
from dataclasses import replace

import pytest

from ecot.cli.run_config import RunConfig
from ecot.config import validate_config
from ecot.data_mix.config import SourceConfig
from ecot.data_mix.folding import fold
from ecot.data_mix.store_builder import StoreBuilder
from ecot.progress import no_progress
from ecot.segments import Kind
from ecot.trajectories import Message, Role, TurnKind
from ecot.trajectory_io import write_trajectories

PROMPT, THINKING, ANSWER, OBSERVATION = Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION
CONVERSATION = (
    Message(Role.SYSTEM, "Be brief."),
    Message(Role.USER, "An adder."),
    Message(Role.ASSISTANT, "bad 値", "First."),
    Message(Role.OBSERVATION, "syntax error"),
    Message(Role.ASSISTANT, "worse"),
    Message(Role.OBSERVATION, "mismatch\n"),
    Message(Role.ASSISTANT, "good", "Then."),
    Message(Role.OBSERVATION, "PASS"),
)


def segments(rendering):
    joined, begin = [], 0
    for span in rendering.spans:
        text, begin = rendering.text[begin : span.end], span.end
        if joined and joined[-1][1:] == (span.kind, span.attempt):
            joined[-1] = (joined[-1][0] + text, span.kind, span.attempt)
        elif text:
            joined.append((text, span.kind, span.attempt))
    return joined


def test_a_trajectory_becomes_one_thought_and_its_last_answer(make_renderer, bare_tokenizer):
    folded = fold(CONVERSATION)
    assert [message.role for message in folded.messages] == [Role.SYSTEM, Role.USER, Role.ASSISTANT]
    renderer = make_renderer()
    rendering = renderer.render(folded.messages, folded.inner)
    expected = [
        (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nAn adder.<|im_end|>\n<|im_start|>assistant\n",
            PROMPT,
            0,
        ),
        ("<think>\nFirst.\n\nAttempt 1:\n\nbad 値\n\nThe tool says:\n\n", THINKING, 1),
        ("syntax error", OBSERVATION, 1),
        ("\n\n", THINKING, 1),
        ("Attempt 2:\n\nworse\n\nThe tool says:\n\n", THINKING, 2),
        ("mismatch\n", OBSERVATION, 2),
        ("\n\n", THINKING, 2),
        ("Then.\n</think>\n\n", THINKING, 3),
        ("good<|im_end|>", ANSWER, 3),
        ("\n", PROMPT, 3),
    ]
    assert segments(rendering) == expected
    (encoded,) = renderer.encode([rendering])
    position, decoded = 0, []
    for run in encoded.runs:
        decoded.append((run.kind, run.attempt))
        position += run.length
    assert position == len(encoded.ids)
    # "mismatch\n" and the line breaks after it are one token; with an observation's character it counts as one.
    assert [pair for pair in decoded if pair != (THINKING, 2)] == [
        pair[1:] for pair in expected if pair[1:] != (THINKING, 2)
    ]


def test_a_template_that_trims_thoughts_moves_the_spans_with_them(make_renderer):
    spaced = (Message(Role.USER, "q"), Message(Role.ASSISTANT, "bad", "\n\nHm."), Message(Role.OBSERVATION, "no"))
    folded = fold((*spaced, Message(Role.ASSISTANT, "good", "Yes.\n")))
    rendering = make_renderer("qwen3").render(folded.messages, folded.inner)
    assert ("no", OBSERVATION, 1) in segments(rendering)
    assert segments(rendering)[1][0].startswith("<think>\nHm.\n\nAttempt 1:")
    assert ("Yes.\n</think>\n\n", THINKING, 2) in segments(rendering)


def test_first_attempts_that_pass_stay_as_they_are():
    simple = (Message(Role.USER, "q"), Message(Role.ASSISTANT, "a", "t"), Message(Role.OBSERVATION, "PASS"))
    assert fold(simple).messages == simple[:2]
    silent = (Message(Role.USER, "q"), Message(Role.ASSISTANT, "a"))
    assert fold(silent).messages == silent and fold(silent).inner == {}


def test_dialogues_with_several_questions_fold_each_stretch(make_renderer):
    dialogue = (*CONVERSATION, Message(Role.USER, "Shorter?"), Message(Role.ASSISTANT, "short", "Ok."))
    folded = fold(dialogue)
    roles = [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER, Role.ASSISTANT]
    assert [message.role for message in folded.messages] == roles
    assert segments(make_renderer().render(folded.messages, folded.inner))[-3:] == [
        ("<think>\nOk.\n</think>\n\n", THINKING, 4),
        ("short<|im_end|>", ANSWER, 4),
        ("\n", PROMPT, 4),
    ]


def test_a_stretch_with_a_kind_of_its_own_is_not_folded(make_renderer):
    pair = (*CONVERSATION[:2], replace(CONVERSATION[2], kind=TurnKind.OBSERVATION), CONVERSATION[3])
    later = (Message(Role.USER, "Again."), *CONVERSATION[4:7])
    folded = fold((*pair, *later))
    assert folded.messages[:4] == pair and folded.unanswered == ()
    assert [message.role for message in folded.messages[4:]] == [Role.USER, Role.ASSISTANT]
    found = segments(make_renderer().render(folded.messages, folded.inner))
    assert ("<think>\nFirst.\n</think>\n\nbad 値<|im_end|>", OBSERVATION, 1) in found
    assert ("mismatch\n", OBSERVATION, 2) in found and ("good<|im_end|>", ANSWER, 3) in found


def test_a_folded_store(tmp_path, tokenizer, data_config, trajectories):
    tokenizer.save_pretrained(tmp_path / "tok")
    write_trajectories(tmp_path / "rows.parquet", trajectories[:20])
    packing = {"pack_tokens": 4096, "global_batch_tokens": 4096}
    config = data_config(form="folded", over_long="drop", packing=packing)
    source = SourceConfig(path=tmp_path / "rows.parquet")
    store = StoreBuilder(config, [source], tmp_path / "tok", tmp_path / "store").build(no_progress)
    assert len(store) == 20
    for document, trajectory in zip(store, trajectories, strict=False):
        observed = {run.attempt for run in document.runs if run.kind is OBSERVATION}
        assert observed == set(range(1, len(trajectory.attempts)))
        assert {run.attempt for run in document.runs if run.kind is ANSWER} == {len(trajectory.attempts)}
        assert len(document.attempt_labels) == len(trajectory.attempts)


@pytest.mark.parametrize(
    ("form", "loss", "weight"),
    [("folded", None, 1.0), ("folded", {"observation": 0.25}, 0.25), ("multi_turn", None, 0.0), ("folded", {}, 1.0)],
)
def test_narrated_observations_weigh_1_unless_the_run_says_otherwise(form, loss, weight):
    """The model must write them itself in this form; in turns of their own the tool writes them."""
    data = {
        "form": form,
        "over_long": "drop",
        "tokenizer": {"train": {}},
        "budgets": [{"name": "a", "tokens": 10}],
        "packing": {"pack_tokens": 64, "global_batch_tokens": 64},
    }
    values = {"name": "r", "data": data} | ({"train": {"loss": loss}} if loss is not None else {})
    given = copy.deepcopy(values)
    assert validate_config(RunConfig, values, "here").train.loss.by_kind[OBSERVATION] == weight
    assert values == given
