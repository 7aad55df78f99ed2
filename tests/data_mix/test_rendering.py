"""The mask contract: text of the template, ids of the tokenizer, kinds to the character."""

from dataclasses import replace

import pytest

from ecot.errors import DataError, TemplateError
from ecot.segments import SUPERVISED_KINDS, Kind
from ecot.trajectories import Message, Role, TurnKind

PROMPT, THINKING, ANSWER, OBSERVATION = Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION
CONVERSATION = (
    Message(Role.SYSTEM, "Be brief."),
    Message(Role.USER, "An adder, bitte: größe 8"),
    Message(Role.ASSISTANT, "```\nbad\n```", "First 値.\n\nThen."),
    Message(Role.OBSERVATION, "syntax error\n"),
    Message(Role.ASSISTANT, "```\ngood\n```\n", "A semicolon."),
    Message(Role.OBSERVATION, "PASS"),
)
WIRE = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "An adder, bitte: größe 8"},
    {"role": "assistant", "content": "```\nbad\n```", "reasoning_content": "First 値.\n\nThen."},
    {"role": "tool", "content": "syntax error\n"},
    {"role": "assistant", "content": "```\ngood\n```\n", "reasoning_content": "A semicolon."},
    {"role": "tool", "content": "PASS"},
]


def segments_of_spans(rendering):
    """(text, kind, attempt) with neighbours of one kind and attempt joined."""
    joined, begin = [], 0
    for span in rendering.spans:
        text, begin = rendering.text[begin : span.end], span.end
        if joined and joined[-1][1:] == (span.kind, span.attempt):
            joined[-1] = (joined[-1][0] + text, *joined[-1][1:])
        elif text:
            joined.append((text, span.kind, span.attempt))
    return joined


def segments_of_tokens(tokenizer, encoded):
    """The same from token runs, each decoded by itself."""
    segments, begin = [], 0
    for run in encoded.runs:
        segments.append((tokenizer.decode(encoded.ids[begin : begin + run.length]), run.kind, run.attempt))
        begin += run.length
    assert begin == len(encoded.ids)
    return segments


def encode_one(renderer, messages):
    (encoded,) = renderer.encode([renderer.render(messages)])
    return encoded


CHATML = [
    (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nAn adder, bitte: größe 8<|im_end|>\n"
        "<|im_start|>assistant\n",
        PROMPT,
        0,
    ),
    ("<think>\nFirst 値.\n\nThen.\n</think>\n\n", THINKING, 1),
    ("```\nbad\n```<|im_end|>", ANSWER, 1),
    ("\n<|im_start|>tool\n", PROMPT, 1),
    ("syntax error\n", OBSERVATION, 1),
    ("<|im_end|>\n<|im_start|>assistant\n", PROMPT, 1),
    ("<think>\nA semicolon.\n</think>\n\n", THINKING, 2),
    ("```\ngood\n```\n<|im_end|>", ANSWER, 2),
    ("\n<|im_start|>tool\n", PROMPT, 2),
    ("PASS", OBSERVATION, 2),
    ("<|im_end|>\n", PROMPT, 2),
]


def test_chatml_to_the_character(make_renderer, bare_tokenizer):
    renderer = make_renderer()
    rendering = renderer.render(CONVERSATION)
    assert segments_of_spans(rendering) == CHATML
    assert segments_of_tokens(bare_tokenizer, encode_one(renderer, CONVERSATION)) == CHATML


def test_qwen3_with_tool_turns_keeps_thinking(make_renderer, bare_tokenizer):
    renderer = make_renderer("qwen3")
    expected = [
        (CHATML[0][0], PROMPT, 0),
        *CHATML[1:3],
        ("\n<|im_start|>user\n<tool_response>\n", PROMPT, 1),
        ("syntax error\n", OBSERVATION, 1),
        ("\n</tool_response><|im_end|>\n<|im_start|>assistant\n", PROMPT, 1),
        *CHATML[6:8],
        ("\n<|im_start|>user\n<tool_response>\n", PROMPT, 2),
        ("PASS", OBSERVATION, 2),
        ("\n</tool_response><|im_end|>\n", PROMPT, 2),
    ]
    assert segments_of_spans(renderer.render(CONVERSATION)) == expected
    tokens = encode_one(renderer, CONVERSATION)
    assert [(kind, attempt) for _, kind, attempt in segments_of_tokens(bare_tokenizer, tokens)] == [
        (kind, attempt) for _, kind, attempt in expected
    ]
    # "syntax error\n" and the template's "\n" are one token: with a character of the prompt in it, still untrained.
    assert tokens.straddling == 1


def test_qwen3_with_user_turns_strips_earlier_thinking(make_renderer):
    renderer = make_renderer("qwen3", "user", "strip")
    (messages,) = renderer.documents(CONVERSATION)
    assert messages == CONVERSATION[:-1]
    rendering = renderer.render(messages)
    assert rendering.removed_thoughts == (2,)
    assert segments_of_spans(rendering) == [
        (CHATML[0][0], PROMPT, 0),
        ("```\nbad\n```<|im_end|>", ANSWER, 1),
        ("\n<|im_start|>user\n", PROMPT, 1),
        ("syntax error\n", OBSERVATION, 1),
        ("<|im_end|>\n<|im_start|>assistant\n", PROMPT, 1),
        *CHATML[6:8],
        ("\n", PROMPT, 2),
    ]


def test_expanded_documents_supervise_only_their_last_turn(make_renderer):
    renderer = make_renderer("qwen3", "user", "expand")
    first, second = renderer.documents(CONVERSATION)
    assert (first, second) == (CONVERSATION[:3], CONVERSATION[:5])
    assert segments_of_spans(renderer.render(first)) == [*CHATML[:3], ("\n", PROMPT, 1)]
    assert segments_of_spans(renderer.render(second)) == [
        (CHATML[0][0], PROMPT, 0),
        ("```\nbad\n```<|im_end|>\n<|im_start|>user\n", PROMPT, 1),
        ("syntax error\n", OBSERVATION, 1),
        ("<|im_end|>\n<|im_start|>assistant\n", PROMPT, 1),
        *CHATML[6:8],
        ("\n", PROMPT, 2),
    ]


def test_an_observation_has_its_kind_in_one_expanded_document_only(make_renderer):
    """Repeated prefixes are context: trained in each document, early observations would count several times."""
    third = (*CONVERSATION[:5], Message(Role.OBSERVATION, "mismatch"), Message(Role.ASSISTANT, "best", "Now."))
    renderer = make_renderer("shipped", "tool", "expand")
    kinds = [
        [(text, kind) for text, kind, _ in segments_of_spans(renderer.render(part)) if kind is not PROMPT]
        for part in renderer.documents((*third, Message(Role.OBSERVATION, "PASS")))
    ]
    assert [[text for text, kind in document if kind is OBSERVATION] for document in kinds] == [
        [],
        ["syntax error\n"],
        ["mismatch"],
    ]
    supervised = [text for document in kinds for text, kind in document if kind is not OBSERVATION]
    assert len(supervised) == len(set(supervised)) == 6


def test_a_thought_opened_by_the_generation_prompt_is_supervised_from_its_text_on(make_renderer):
    renderer = make_renderer("qwen3_thinking")
    segments = segments_of_spans(renderer.render(CONVERSATION))
    assert segments[0] == (CHATML[0][0] + "<think>\n", PROMPT, 0)
    assert segments[1] == ("First 値.\n\nThen.\n</think>\n\n", THINKING, 1)
    stripped = make_renderer("qwen3_thinking", "user", "strip")
    segments = segments_of_spans(stripped.render(CONVERSATION[:-1]))
    assert segments[1] == ("```\nbad\n```<|im_end|>", ANSWER, 1)
    assert segments[4] == ("<|im_end|>\n<|im_start|>assistant\n<think>\n", PROMPT, 1)


@pytest.mark.parametrize("template", ["shipped", "qwen3"])
def test_text_and_ids_are_those_of_template_and_tokenizer(make_renderer, bare_tokenizer, template):
    renderer = make_renderer(template)
    text = bare_tokenizer.apply_chat_template(WIRE, tokenize=False)
    assert renderer.render(CONVERSATION).text == text
    ids = encode_one(renderer, CONVERSATION).ids
    assert ids.tolist() == bare_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids.tolist() == bare_tokenizer.apply_chat_template(WIRE, tokenize=True, return_dict=False)


def test_the_shipped_template_takes_observations_under_their_own_name(make_renderer, bare_tokenizer):
    for role in ("tool", "user"):
        renderer = make_renderer(observation_role=role)
        own = [dict(m, role="observation") if m["role"] == "tool" else m for m in WIRE]
        assert renderer.render(CONVERSATION).text == bare_tokenizer.apply_chat_template(own, tokenize=False)
        assert f"<|im_start|>{role}\nsyntax error" in renderer.render(CONVERSATION).text


def test_end_of_turn_and_closing_tag_are_trained_and_nothing_else_special(make_renderer, bare_tokenizer):
    encoded = encode_one(make_renderer(), CONVERSATION)
    kinds = [run.kind for run in encoded.runs for _ in range(run.length)]
    trained = {"<|im_start|>": 0, "<|im_end|>": 0, "<think>": 0, "</think>": 0}
    for token, kind in zip(encoded.ids.tolist(), kinds, strict=True):
        name = bare_tokenizer.convert_ids_to_tokens(token)
        if name in trained:
            trained[name] += kind in SUPERVISED_KINDS
    assert trained == {"<|im_start|>": 0, "<|im_end|>": 2, "<think>": 2, "</think>": 2}


@pytest.mark.parametrize(
    ("template", "role", "past", "loss"),
    [
        ("qwen25", "tool", "keep", "loses the thinking of message 2 (assistant)"),
        ("qwen25", "user", "strip", "loses the thinking of message 4 (assistant)"),
        ("qwen25", "user", "expand", "loses the thinking of message 2 (assistant)"),
        ("qwen3", "user", "keep", "loses the thinking of message 2 (assistant)"),
        ("llama3", "tool", "keep", "Only system, user and assistant roles are supported!"),
        ("llama3", "user", "keep", "loses the thinking of message 2 (assistant)"),
    ],
)
def test_a_template_that_loses_text_is_refused(make_renderer, template, role, past, loss):
    renderer = make_renderer(template, role, past)
    with pytest.raises(TemplateError, match=r"template: shipped") as error:
        for messages in renderer.documents(CONVERSATION):
            renderer.render(messages)
    assert loss in str(error.value)
    if "message 2" in loss and past == "keep":
        assert "past_thinking: strip or expand" in str(error.value)


def loop(body):
    """A ChatML template with `body` between header and end of turn."""
    turn = "<|im_start|>{{ m.role }}\n" + body + "<|im_end|>\n"
    return (
        "{% for m in messages %}"
        + turn
        + "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


THOUGHT = "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (loop(THOUGHT + "{% if m.role != 'tool' %}{{ m.content }}{% endif %}"), "content of message 3 (tool)"),
        (loop(THOUGHT + "{% if not loop.first %}{{ m.content }}{% endif %}"), "content of message 0 (system)"),
        (loop(THOUGHT + "{{ m.content }}{{ m.content }}"), "content of message 0 (system) twice"),
        (loop(THOUGHT + "{{ m.content[:3] }}"), "content of message 0 (system)"),
        (loop("{{ m.content }}" + THOUGHT), "changes the order"),
        ((loop(THOUGHT + "{{ m.content }}")).replace("<|im_end|>", "<end>"), "stopping would never be learned"),
        ((loop(THOUGHT + "{{ m.content }}")).replace("in messages", "in messages[::-1]"), "changes the order"),
        ("{% if true %}" + loop("")[:20], "refuses a conversation"),
    ],
)
def test_templates_that_do_other_harm_are_refused(make_renderer, bare_tokenizer, source, message):
    renderer = make_renderer()
    bare_tokenizer.chat_template = source
    with pytest.raises(TemplateError) as error:
        renderer.render(CONVERSATION)
    assert message in str(error.value)


def test_a_template_may_trim_the_ends_of_texts(make_renderer, bare_tokenizer):
    renderer = make_renderer()
    bare_tokenizer.chat_template = loop(THOUGHT + "{{ m.content | trim }}")
    segments = segments_of_spans(renderer.render(CONVERSATION))
    assert ("syntax error", OBSERVATION, 1) in segments
    assert ("```\ngood\n```<|im_end|>", ANSWER, 2) in segments


def test_a_text_that_changes_what_the_template_writes_is_refused(make_renderer, bare_tokenizer):
    renderer = make_renderer()
    bare_tokenizer.chat_template = loop(THOUGHT + "{{ m.content | replace('secret', '***') }}")
    renderer.render(CONVERSATION)
    bad = (Message(Role.USER, "a secret"), Message(Role.ASSISTANT, "x", "y"))
    with pytest.raises(DataError, match="otherwise than others of its shape"):
        renderer.render(bad)


def test_an_empty_thought_written_by_the_template_is_no_target(make_renderer):
    messages = (Message(Role.USER, "hi"), Message(Role.ASSISTANT, "hello"))
    assert segments_of_spans(make_renderer("qwen3").render(messages)) == [
        ("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", PROMPT, 0),
        ("<think>\n\n</think>\n\n", PROMPT, 1),
        ("hello<|im_end|>", ANSWER, 1),
        ("\n", PROMPT, 1),
    ]


def test_empty_texts(make_renderer):
    messages = (Message(Role.USER, ""), Message(Role.ASSISTANT, "", "thought"), Message(Role.OBSERVATION, ""))
    assert segments_of_spans(make_renderer().render(messages))[1:3] == [
        ("<think>\nthought\n</think>\n\n", THINKING, 1),
        ("<|im_end|>", ANSWER, 1),
    ]
    silent = (Message(Role.USER, "x"), Message(Role.ASSISTANT, "", ""))
    assert segments_of_spans(make_renderer().render(silent))[1] == ("<|im_end|>", ANSWER, 1)


@pytest.mark.parametrize(
    ("index", "field", "text", "complaint"),
    [
        (1, "content", "print <|im_end|> now", "control token '<|im_end|>'"),
        (3, "content", "<|im_start|>assistant\nPASS", "control token '<|im_start|>'"),
        (3, "content", "<|endoftext|>", "control token '<|endoftext|>'"),
        (2, "reasoning_content", "so </think> what", "'</think>'"),
        (2, "content", "x <think> y", "'<think>'"),
        (4, "content", "a\ud800b", "not valid Unicode"),
        (0, "content", "\ue0f01c\ue0f1", "private-use"),
    ],
)
def test_texts_that_would_corrupt_masks_are_refused(make_renderer, index, field, text, complaint):
    messages = list(CONVERSATION)
    values = {"content": messages[index].content, "reasoning_content": messages[index].reasoning_content, field: text}
    messages[index] = Message(messages[index].role, **values)
    with pytest.raises(DataError) as error:
        make_renderer().render(messages)
    assert complaint in str(error.value) and f"messages.{index}.{field}" in str(error.value)


def test_thinking_tags_in_prompt_and_observation_leave_the_masks_right(make_renderer, bare_tokenizer):
    messages = list(CONVERSATION)
    messages[1] = Message(Role.USER, "Think in <think></think> tags.")
    messages[3] = Message(Role.OBSERVATION, "</think>\n\nunexpected <think>")
    renderer = make_renderer()
    expected = [
        (text.replace("An adder, bitte: größe 8", messages[1].content), kind, attempt)
        if attempt == 0
        else (text.replace("syntax error\n", messages[3].content), kind, attempt)
        for text, kind, attempt in CHATML
    ]
    assert segments_of_spans(renderer.render(messages)) == expected
    assert segments_of_tokens(bare_tokenizer, encode_one(renderer, messages)) == expected


def test_an_answer_that_merges_with_the_header_is_refused(make_renderer):
    renderer = make_renderer()
    messages = (Message(Role.USER, "hi"), Message(Role.ASSISTANT, "\nhello"))
    error = encode_one(renderer, messages)
    assert isinstance(error, DataError) and "unlike at inference" in str(error)
    thinking = (Message(Role.USER, "hi"), Message(Role.ASSISTANT, "\nhello", "\nhm"))
    assert not isinstance(encode_one(renderer, thinking), DataError)


def test_a_turn_may_have_another_kind(make_renderer):
    """A world model's pair: the candidate comes in, what the tool would say goes out."""
    pair = (Message(Role.USER, "module m; endmodule"), Message(Role.ASSISTANT, "PASS", "It compiles."))
    segments = segments_of_spans(make_renderer().render(pair, kinds={1: OBSERVATION}))
    assert segments[1:] == [
        ("<think>\nIt compiles.\n</think>\n\nPASS<|im_end|>", OBSERVATION, 1),
        ("\n", PROMPT, 1),
    ]
    both = segments_of_spans(make_renderer().render(CONVERSATION, kinds={4: OBSERVATION}))
    assert both[1:3] == CHATML[1:3]
    assert ("<think>\nA semicolon.\n</think>\n\n```\ngood\n```\n<|im_end|>", OBSERVATION, 2) in both


def test_a_message_says_its_own_kind(make_renderer):
    """A pair of a world model, and a turn that is only context."""
    pair = (Message(Role.USER, "module m; endmodule"), Message(Role.ASSISTANT, "PASS", "Fine.", TurnKind.OBSERVATION))
    assert segments_of_spans(make_renderer().render(pair))[1:] == [
        ("<think>\nFine.\n</think>\n\nPASS<|im_end|>", OBSERVATION, 1),
        ("\n", PROMPT, 1),
    ]
    context = list(CONVERSATION)
    context[2] = replace(context[2], kind=TurnKind.PROMPT)
    segments = segments_of_spans(make_renderer().render(context))
    assert segments[0][1:] == (PROMPT, 0) and segments[1] == (
        "<think>\nFirst 値.\n\nThen.\n</think>\n\n```\nbad\n```<|im_end|>\n<|im_start|>tool\n",
        PROMPT,
        1,
    )
    assert segments[2:] == CHATML[4:]


def test_kinds_of_their_own_in_stripped_and_expanded_conversations(make_renderer):
    context = (*CONVERSATION[:2], replace(CONVERSATION[2], kind=TurnKind.PROMPT), *CONVERSATION[3:5])
    expanded = make_renderer("shipped", "tool", "expand")
    assert [len(part) for part in expanded.documents(context)] == [5]  # context makes no document of its own
    stripped = make_renderer("shipped", "tool", "strip")
    (part,) = stripped.documents(context)
    rendering = stripped.render(part)
    assert rendering.removed_thoughts == (2,)
    assert [kind for _, kind, _ in segments_of_spans(rendering)] == [
        PROMPT,
        PROMPT,
        OBSERVATION,
        PROMPT,
        THINKING,
        ANSWER,
        PROMPT,
    ]
    told = (*CONVERSATION[:4], replace(CONVERSATION[4], kind=TurnKind.OBSERVATION))
    first, second = (segments_of_spans(expanded.render(part)) for part in expanded.documents(told))
    assert [text for text, kind, _ in first if kind is ANSWER] == ["```\nbad\n```<|im_end|>"]
    assert {kind for _, kind, _ in second} == {PROMPT, OBSERVATION}
