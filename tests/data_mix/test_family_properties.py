"""Train equals inference and parsing inverts rendering, for random conversations in every template family.

What breaks elsewhere: prefixes that are rendered otherwise once the conversation goes on, so that spans found by
comparing prefixes are shifted or rejected; the first `<think>` left out of the loss or trained although the prompt
holds it; completions parsed with the tags of another family.
"""

# ruff: noqa: RUF001 (DeepSeek writes its tokens with full-width bars)

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from ecot.data_mix.config import ObservationRole, PastThinking
from ecot.data_mix.parsing import CompletionParser
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.templates import shipped_template
from ecot.errors import DataError, TemplateError
from ecot.segments import SUPERVISED_KINDS, Kind
from ecot.trajectories import Message, Role

TEMPLATES = Path(__file__).parent / "templates"
CHATML = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
LLAMA = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
GLM = ["[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|endoftext|>"]
DEEPSEEK = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"]
DEEPSEEK += ["<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>"]


class Case(NamedTuple):
    """A template with the choices that it can be trained with."""

    template: str
    role: str
    past: str
    thinks: str
    """`may`, `must` or `never`."""
    tokens: list[str] = CHATML


CASES = [
    Case("shipped", "tool", "keep", "may"),
    Case("shipped", "user", "strip", "may"),
    Case("shipped", "user", "expand", "may"),
    Case("qwen25", "tool", "keep", "never"),
    Case("qwen25", "user", "keep", "never"),
    Case("qwen3", "tool", "keep", "may"),
    Case("qwen3", "user", "strip", "may"),
    Case("qwen3", "user", "expand", "may"),
    Case("qwen3_thinking", "tool", "keep", "must"),
    Case("qwen3_thinking", "user", "expand", "must"),
    Case("iquest", "tool", "keep", "may"),
    Case("iquest", "user", "expand", "may"),
    Case("incoder", "tool", "keep", "never"),
    Case("llama3", "user", "keep", "never", LLAMA),
    Case("glm45", "tool", "keep", "may", GLM),
    Case("glm45", "tool", "expand", "may", GLM),
    Case("glm45", "user", "expand", "may", GLM),
    Case("deepseek_r1_training", "tool", "keep", "must", DEEPSEEK),
    Case("deepseek_r1_training", "tool", "expand", "must", DEEPSEEK),
]
NAMES = ["-".join(case[:3]) for case in CASES]
WORDS = [
    "reset",
    "größe",
    "値",
    "👩\u200d🚀",
    "e\u0301",
    "<",
    "think>",
    "</",
    "|>",
    "```systemverilog\n",
    "'s",
    "\t",
    "[x]",
]
TEXT = st.lists(st.sampled_from([*WORDS, " ", "\n", "\n\n", "0123", "assistant\n", "…"]), min_size=1, max_size=8)
TEXT = TEXT.map("".join).map(str.strip).filter(lambda t: t and "<think>" not in t and "</think>" not in t)
SETTINGS = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def conversations(draw):
    """(thoughts are left out by the caller) an opening and attempts with what the tool says to them."""
    messages = [Message(Role.SYSTEM, draw(TEXT))] if draw(st.booleans()) else []
    messages.append(Message(Role.USER, draw(TEXT)))
    for number in range(draw(st.integers(1, 3))):
        if number:
            messages.append(Message(Role.OBSERVATION, draw(TEXT)))
        messages.append(Message(Role.ASSISTANT, draw(TEXT), draw(st.none() | TEXT)))
    return tuple(messages)


def as_taken(case, messages):
    """The conversation as the template can be trained with it."""

    def thought(message):
        return {"may": message.reasoning_content, "must": message.reasoning_content or "Hm.", "never": None}[
            case.thinks
        ]

    return tuple(Message(m.role, m.content, thought(m)) if m.role is Role.ASSISTANT else m for m in messages)


@pytest.fixture(scope="module")
def renderers(bare_tokenizer):
    """A renderer for each case, over the tests' vocabulary with the family's own tokens."""
    made = {}
    for name, case in zip(NAMES, CASES, strict=True):
        backend = json.loads(bare_tokenizer.backend_tokenizer.to_str())
        backend["added_tokens"] = [token for token in backend["added_tokens"] if "think" in token["content"]]
        tokenizer = Tokenizer.from_str(json.dumps(backend))
        tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in case.tokens])
        loaded = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        role, past = ObservationRole(case.role), PastThinking(case.past)
        path = TEMPLATES / f"{case.template}.jinja"
        loaded.chat_template = shipped_template(role, past) if case.template == "shipped" else path.read_text("utf-8")
        made[name] = Renderer(loaded, role, past)
    return made


def supervised_turns(renderer, document):
    """Indices of the assistant turns that a document trains."""
    turns = [index for index, message in enumerate(document) if message.role is Role.ASSISTANT]
    return turns[-1:] if renderer.past_thinking is PastThinking.EXPAND else turns


@pytest.mark.parametrize("name", NAMES)
@SETTINGS
@given(drawn=conversations())
def test_ids_are_the_templates_and_begin_as_inference_does(renderers, name, drawn):
    case, renderer = CASES[NAMES.index(name)], renderers[name]
    messages = as_taken(case, drawn)
    for document in renderer.documents(messages):
        rendering = renderer.render(document)
        (encoded,) = renderer.encode([rendering])
        assert not isinstance(encoded, DataError), encoded
        ids = encoded.ids.tolist()
        wire = [
            {"role": case.role if m.role is Role.OBSERVATION else str(m.role), "content": m.content}
            | ({"reasoning_content": m.reasoning_content} if m.reasoning_content else {})
            for m in document
        ]
        whole = renderer.tokenizer.apply_chat_template(wire, tokenize=False)
        beyond = rendering.text.removeprefix(whole)
        assert rendering.text.startswith(whole) and beyond in (
            ["<|user|>", "<|observation|>"] if case.tokens is GLM else [""]
        )
        assert ids == renderer.tokenizer(rendering.text, add_special_tokens=False)["input_ids"]
        kinds = [run.kind for run in encoded.runs for _ in range(run.length)]
        for number, turn in enumerate(supervised_turns(renderer, document)):
            last = turn == len(document) - 1
            if renderer.past_thinking is PastThinking.STRIP and not last:
                continue  # inference saw the thoughts that are stripped now; only the last turn is as it was
            prompt = renderer.token_ids(renderer.generation_prompt(document[:turn]))
            assert ids[: len(prompt)] == prompt
            assert kinds[len(prompt) - 1] not in SUPERVISED_KINDS  # the prompt's end is never trained
            empty = renderer.decode(ids[len(prompt) :]).startswith("<think>\n\n</think>")
            assert kinds[len(prompt)] in SUPERVISED_KINDS or empty or case.tokens is GLM
            assert rendering.turn_starts[number] == len(renderer.generation_prompt(document[:turn]))
        assert {run.kind for run in encoded.runs} <= {Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION}


@pytest.mark.parametrize("name", NAMES)
@SETTINGS
@given(drawn=conversations())
def test_parsing_a_turn_gives_the_message_back(renderers, name, drawn):
    case, renderer = CASES[NAMES.index(name)], renderers[name]
    parser = CompletionParser(renderer)
    for document in renderer.documents(as_taken(case, drawn)):
        rendering = renderer.render(document)
        turn = supervised_turns(renderer, document)[-1]
        parsed = parser.parse(document[:turn], rendering.text[rendering.turn_starts[-1] :])
        assert (parsed.thinking, parsed.content) == (document[turn].reasoning_content, document[turn].content)
        assert parsed.finished


@pytest.mark.parametrize("name", NAMES)
@SETTINGS
@given(drawn=conversations())
def test_every_supervised_text_is_trained_and_nothing_else_is(renderers, name, drawn):
    """Supervised characters are exactly the turns' texts, the tags and separators around them, and the ends."""
    case, renderer = CASES[NAMES.index(name)], renderers[name]
    for document in renderer.documents(as_taken(case, drawn)):
        rendering = renderer.render(document)
        begin, found = 0, {}
        for span in rendering.spans:
            if span.kind in (*SUPERVISED_KINDS, Kind.OBSERVATION):
                key = span.kind, span.attempt
                found[key] = found.get(key, "") + rendering.text[begin : span.end]
            begin = span.end
        turns = [m for m in document if m.role is Role.ASSISTANT]
        for turn in supervised_turns(renderer, document):
            message, attempt = document[turn], turns.index(document[turn]) + 1
            if turns.count(message) > 1:
                continue
            control = renderer._layouts.control
            assert control.sub("", found[Kind.ANSWER, attempt]).strip() == message.content
            assert control.search(found[Kind.ANSWER, attempt])
            kept = message.reasoning_content and turn not in rendering.removed_thoughts
            thought = found.get((Kind.THINKING, attempt), "")
            assert thought.replace("<think>", "").replace("</think>", "").strip() == (
                message.reasoning_content if kept else ""
            )
            assert ("</think>" in thought) == bool(kept)
        for (kind, _), text in found.items():
            if kind is Kind.OBSERVATION:
                assert text in [m.content for m in document if m.role is Role.OBSERVATION]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("shipped-tool-keep", "<think>\na\n</think>\n\nb<|im_end|>\n", ("a", "b", True)),
        ("shipped-tool-keep", "<think>\na</think>b", ("a", "b", False)),  # not as rendered: tags alone decide
        ("shipped-tool-keep", "<think>\nnever closed", ("never closed", "", False)),
        ("shipped-tool-keep", "no thought<|im_end|>", (None, "no thought", True)),
        ("qwen3-tool-keep", "<think>\n\n</think>\n\nb<|im_end|>", (None, "b", True)),
        ("qwen3_thinking-tool-keep", "a\n</think>\n\nb<|im_end|>", ("a", "b", True)),
        ("qwen3_thinking-tool-keep", "never closed", ("never closed", "", False)),
        ("glm45-tool-keep", "\n<think>a</think>\nb<|user|>\nmore", ("a", "b", True)),
        ("glm45-tool-keep", "\n<think>a</think>\n\nb<|observation|>", ("a", "\nb", True)),
        ("glm45-tool-keep", "\n<think></think>\nb", (None, "b", False)),
        ("llama3-user-keep", "<think>a</think>b<|eot_id|>", ("a", "b", True)),
        ("deepseek_r1_training-tool-keep", "a\n</think>\n\nb<｜end▁of▁sentence｜>", ("a", "b", True)),
    ],
)
def test_completions_are_read_with_the_familys_own_separators(renderers, name, text, expected):
    parsed = CompletionParser(renderers[name]).parse((Message(Role.USER, "q"),), text)
    assert (parsed.thinking, parsed.content, parsed.finished) == expected


def test_a_template_that_does_not_write_thoughts_is_refused_for_every_conversation_that_thinks(renderers):
    """Elsewhere they vanish without a word, and the model learns to answer without thinking."""
    thinking = (Message(Role.USER, "q"), Message(Role.ASSISTANT, "a", "t"))
    for name, case in zip(NAMES, CASES, strict=True):
        if case.thinks == "never":
            with pytest.raises(TemplateError, match="loses the thinking of message 1"):
                renderers[name].render(thinking)
