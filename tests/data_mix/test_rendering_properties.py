"""Train equals inference, and parsing inverts rendering, for random conversations."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecot.data_mix.config import ObservationRole
from ecot.data_mix.parsing import parse_completion, parse_conversation
from ecot.errors import DataError
from ecot.segments import Kind
from ecot.trajectories import Message, Role

FRAGMENTS = [
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    "\r\n",
    "<",
    "|>",
    "<|im_",
    "think>",
    "</",
    "module m;",
    "é",
    "値",
    "👩\u200d🚀",
]
FRAGMENTS += ["e\u0301", "\u2028", "\x00", "0123", "'s", "```systemverilog\n", "assistant\n", "\ufeff", "…"]
TEXT = st.lists(st.sampled_from(FRAGMENTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=8)
TEXT = TEXT.map("".join)
FORBIDDEN = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "\ue0f0")
TEXT = TEXT.filter(lambda text: not any(token in text for token in FORBIDDEN))
SETTINGS = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def conversations(draw):
    """A system message or none, a question, attempts with observations, perhaps a follow-up question."""
    messages = [Message(Role.SYSTEM, draw(TEXT))] if draw(st.booleans()) else []
    messages.append(Message(Role.USER, draw(TEXT)))
    for _ in range(draw(st.integers(1, 3))):
        thought = draw(st.none() | TEXT.filter(bool))
        answer = draw(TEXT)
        # White space after a header may merge with it; there is a test of its own for that.
        messages.append(Message(Role.ASSISTANT, answer if thought else answer.lstrip(), thought))
        if draw(st.booleans()) or messages[-1].role is Role.ASSISTANT:
            messages.append(Message(Role.OBSERVATION, draw(TEXT)))
    return tuple(messages if draw(st.booleans()) else messages[:-1])


def attempts_before(messages, end):
    return [index for index, message in enumerate(messages[:end]) if message.role is Role.ASSISTANT]


def encode(renderer, messages):
    """The tokens; None for a turn whose first characters merge with its generation prompt, which is rightly refused."""
    (encoded,) = renderer.encode([renderer.render(messages)])
    if isinstance(encoded, DataError):
        assert "merges with the template's header" in str(encoded)
        openings = [m.reasoning_content or m.content for m in messages if m.role is Role.ASSISTANT]
        assert any(text[:1].isspace() for text in openings)
        return None
    return encoded


def reference_kinds(tokenizer, ids):
    """Kinds of ChatML tokens, told from the token sequence alone, without character offsets."""
    start, end, think, unthink = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>", "<think>", "</think>"])
    kinds, position = [], 0
    while position < len(ids):
        assert ids[position] == start
        stop = ids.index(end, position)
        header_end = position
        header = "<|im_start|>"
        while not header.endswith("\n"):
            header_end += 1
            header += tokenizer.decode(ids[header_end])
        turn = ids[header_end + 1 : stop + 1]
        kinds += [Kind.PROMPT] * (header_end + 1 - position)
        if header.startswith("<|im_start|>assistant\n"):
            closing = turn.index(unthink) + 1 if think in turn[:1] else 0
            separators = ""
            while closing and len(separators) < 2:  # the token that completes the two line breaks may hold more
                separators += tokenizer.decode(turn[closing])
                closing += 1
            kinds += [Kind.THINKING] * closing + [Kind.ANSWER] * (len(turn) - closing)
        else:
            kind = Kind.OBSERVATION if header.startswith("<|im_start|>tool") else Kind.PROMPT
            kinds += [kind] * (len(turn) - 1) + [Kind.PROMPT]
        newline = stop + 1
        assert tokenizer.decode(ids[newline]) == "\n"
        kinds.append(Kind.PROMPT)
        position = newline + 1
    return kinds


@SETTINGS
@given(messages=conversations())
def test_parsing_inverts_rendering(make_renderer, messages):
    text = make_renderer().render(messages).text
    assert parse_conversation(text, ObservationRole.TOOL) == messages


@SETTINGS
@given(messages=conversations())
def test_training_ids_begin_with_the_generation_prompt_of_every_turn(make_renderer, messages):
    for template in ("shipped", "qwen3"):
        renderer = make_renderer(template)
        ids = encode(renderer, messages).ids.tolist()
        for turn in attempts_before(messages, len(messages)):
            prompt = renderer.token_ids(renderer.generation_prompt(messages[:turn]))
            assert ids[: len(prompt)] == prompt


@SETTINGS
@given(messages=conversations())
def test_expanded_documents_are_what_inference_sees(make_renderer, bare_tokenizer, messages):
    for template, role in (("shipped", "tool"), ("qwen3", "user"), ("qwen3_thinking", "tool")):
        renderer = make_renderer(template, role, "expand")
        if template == "qwen3_thinking":
            messages = tuple(
                replace(m, reasoning_content=m.reasoning_content or "Hm.") if m.role is Role.ASSISTANT else m
                for m in messages
            )
        for document in renderer.documents(messages):
            encoded = encode(renderer, document)
            if encoded is None:
                assert template == "qwen3_thinking"  # the only one whose generation prompt ends inside a thought
                continue
            prompt = renderer.token_ids(renderer.generation_prompt(document[:-1]))
            ids = encoded.ids.tolist()
            assert ids[: len(prompt)] == prompt
            kinds = [run.kind for run in encoded.runs for _ in range(run.length)]
            assert not {Kind.THINKING, Kind.ANSWER} & set(kinds[: len(prompt)])
            assert set(kinds[len(prompt) : -1]) <= {Kind.THINKING, Kind.ANSWER, Kind.PROMPT}
            assert ids == bare_tokenizer(renderer.render(document).text, add_special_tokens=False)["input_ids"]


@SETTINGS
@given(messages=conversations())
def test_kinds_equal_those_told_from_the_token_sequence(make_renderer, bare_tokenizer, messages):
    encoded = encode(make_renderer(), messages)
    kinds = [run.kind for run in encoded.runs for _ in range(run.length)]
    expected = reference_kinds(bare_tokenizer, encoded.ids.tolist())
    different = [(kind, other) for kind, other in zip(kinds, expected, strict=True) if kind != other]
    # The reference gives a token that joins a header's line break with an observation's to the header as well.
    assert not different


@SETTINGS
@given(messages=conversations())
def test_attempts_count_assistant_turns(make_renderer, messages):
    encoded = encode(make_renderer(), messages)
    supervised = [run for run in encoded.runs if run.kind in (Kind.THINKING, Kind.ANSWER)]
    attempts = [attempt for attempt, _ in itertools.groupby(run.attempt for run in supervised)]
    assert attempts == list(range(1, len(attempts_before(messages, len(messages))) + 1))
    assert all(run.attempt >= 1 for run in encoded.runs if run.kind is Kind.OBSERVATION)


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("<think>\na\n</think>\n\nb<|im_end|>\n", False, ("a", "b", True)),
        ("a\n</think>\n\nb<|im_end|>", True, ("a", "b", True)),
        ("b", False, (None, "b", False)),
        ("<think>\nnever closed", False, ("never closed", "", False)),
        ("<think>\n\na\n\n</think>\n\n\nb<|im_end|>c", False, ("\na\n", "\nb", True)),
    ],
)
def test_completions_are_split_as_they_are_rendered(text, opened, expected):
    completion = parse_completion(text, thinking_opened=opened)
    assert (completion.thinking, completion.content, completion.finished) == expected


def test_a_user_turn_after_an_answer_is_an_observation_where_observations_are_user_turns(make_renderer):
    messages = (Message(Role.USER, "q"), Message(Role.ASSISTANT, "a", "t"), Message(Role.OBSERVATION, "o"))
    text = make_renderer(observation_role="user").render(messages).text
    assert parse_conversation(text, ObservationRole.USER) == messages
    assert parse_conversation(text, ObservationRole.TOOL)[2] == Message(Role.USER, "o")


@pytest.mark.parametrize("text", ["x", "<|im_start|>user\nx", "<|im_start|>critic\nx<|im_end|>\n"])
def test_text_that_is_no_conversation_is_refused(text):
    with pytest.raises(DataError):
        parse_conversation(text, ObservationRole.TOOL)
