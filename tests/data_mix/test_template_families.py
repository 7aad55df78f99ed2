"""Templates of other families, with tokenizers that have their tokens, and ChatML where the tags are plain text."""

# ruff: noqa: RUF001 (DeepSeek writes its tokens with full-width bars)

import json

import pytest
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from ecot.data_mix.config import ObservationRole, OverLong, PastThinking
from ecot.data_mix.documents import DocumentMaker
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.templates import shipped_template
from ecot.errors import DataError, TemplateError
from ecot.segments import SUPERVISED_KINDS, Kind
from ecot.trajectories import Message, Role

PROMPT, THINKING, ANSWER, OBSERVATION = Kind.PROMPT, Kind.THINKING, Kind.ANSWER, Kind.OBSERVATION
THOUGHTFUL = (
    Message(Role.SYSTEM, "Be brief."),
    Message(Role.USER, "An adder."),
    Message(Role.ASSISTANT, "bad code", "First."),
    Message(Role.OBSERVATION, "syntax error"),
    Message(Role.ASSISTANT, "good code", "Then."),
    Message(Role.OBSERVATION, "PASS"),
)
PLAIN = tuple(Message(message.role, message.content) for message in THOUGHTFUL)
TOKENS = {
    "glm45": ["[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|endoftext|>"],
    "llama3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "deepseek_r1": [
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜User｜>",
        "<｜Assistant｜>",
        "<｜tool▁outputs▁begin｜>",
        "<｜tool▁outputs▁end｜>",
    ],
    "incoder": ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
}


@pytest.fixture
def family(bare_tokenizer, pytestconfig):
    """A renderer for a family's template, over the tests' vocabulary with that family's tokens in place of ChatML's."""

    def make(name, role="tool", past="keep", thinking_tokens=True, template=None):
        backend = json.loads(bare_tokenizer.backend_tokenizer.to_str())
        backend["added_tokens"] = [token for token in backend["added_tokens"] if "think" in token["content"]]
        if not thinking_tokens:
            backend["added_tokens"] = []
        tokenizer = Tokenizer.from_str(json.dumps(backend))
        tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in TOKENS[name]])
        loaded = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        folder = pytestconfig.rootpath / "tests" / "data_mix" / "templates"
        loaded.chat_template = template or (folder / f"{name}.jinja").read_text("utf-8")
        return Renderer(loaded, ObservationRole(role), PastThinking(past))

    return make


def segments(renderer, messages):
    rendering = renderer.render(messages)
    joined, begin = [], 0
    for span in rendering.spans:
        text, begin = rendering.text[begin : span.end], span.end
        if joined and joined[-1][1:] == (span.kind, span.attempt):
            joined[-1] = (joined[-1][0] + text, span.kind, span.attempt)
        elif text:
            joined.append((text, span.kind, span.attempt))
    return joined


def ids_of(renderer, messages):
    (encoded,) = renderer.encode([renderer.render(messages)])
    assert not isinstance(encoded, DataError), encoded
    return encoded.ids.tolist()


def test_the_token_that_opens_the_next_turn_is_the_stop_signal_of_glm(family):
    renderer = family("glm45")
    assert segments(renderer, THOUGHTFUL) == [
        ("[gMASK]<sop><|system|>\nBe brief.<|user|>\nAn adder.<|assistant|>", PROMPT, 0),
        ("\n<think>First.</think>\n", THINKING, 1),
        ("bad code<|observation|>", ANSWER, 1),
        ("\n<tool_response>\n", PROMPT, 1),
        ("syntax error", OBSERVATION, 1),
        ("\n</tool_response><|assistant|>", PROMPT, 1),
        ("\n<think>Then.</think>\n", THINKING, 2),
        ("good code<|observation|>", ANSWER, 2),
        ("\n<tool_response>\n", PROMPT, 2),
        ("PASS", OBSERVATION, 2),
        ("\n</tool_response>", PROMPT, 2),
    ]


def test_a_last_turn_of_glm_ends_with_the_token_of_whoever_would_be_next(family):
    """Elsewhere a conversation that ends with the assistant gets no stop token at all, or `<|endoftext|>`, which no
    turn within a conversation ends with; the model then goes on by itself."""
    renderer = family("glm45")
    last = segments(renderer, THOUGHTFUL[:-1])[-1]
    assert last == ("good code<|observation|>", ANSWER, 2)  # a tool spoke before, so a tool is next
    assert segments(renderer, THOUGHTFUL[:3])[-1] == ("bad code<|user|>", ANSWER, 1)
    rendering = renderer.render(THOUGHTFUL[:3], next_role=Role.OBSERVATION)
    assert rendering.text.endswith("bad code<|observation|>")
    # What is trained is the beginning of the longer conversation, token for token.
    longer = renderer.render(THOUGHTFUL[:4])
    assert longer.text.startswith(rendering.text)
    (encoded,) = renderer.encode([rendering])
    assert ids_of(renderer, THOUGHTFUL[:4])[: len(encoded.ids)] == encoded.ids.tolist()


def test_a_turn_of_glm_that_only_thinks_ends_as_well(family):
    silent = (*THOUGHTFUL[:2], Message(Role.ASSISTANT, "", "Hm."), Message(Role.OBSERVATION, "no code"))
    assert segments(family("glm45"), silent)[1:3] == [
        ("\n<think>Hm.</think>", THINKING, 1),
        ("<|observation|>", ANSWER, 1),
    ]
    assert segments(family("glm45"), silent[:3])[-1] == ("<|user|>", ANSWER, 1)


def test_expanded_documents_of_glm_end_as_the_conversation_went_on(family, trajectories):
    """In documents cut out of a conversation, the next speaker is known."""
    renderer = family("glm45", past="expand")
    maker = DocumentMaker(renderer, 10_000, OverLong.DROP)
    (made,) = maker.make([trajectories[1]])
    ends = [renderer.decode(document.encoded.ids[-1:].tolist()) for document in made.documents]
    assert ends == ["<|observation|>"] * len(trajectories[1].attempts)


def test_llama3_trains_conversations_without_thinking(family):
    assert segments(family("llama3", role="user"), PLAIN)[:5] == [
        (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nAn adder.<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            PROMPT,
            0,
        ),
        ("bad code<|eot_id|>", ANSWER, 1),
        ("<|start_header_id|>user<|end_header_id|>\n\n", PROMPT, 1),
        ("syntax error", OBSERVATION, 1),
        ("<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", PROMPT, 1),
    ]
    with pytest.raises(TemplateError, match="loses the thinking of message 2"):
        family("llama3", role="user").render(THOUGHTFUL)


def test_deepseek_r1_as_shipped_cannot_train_what_it_does_not_write(family):
    with pytest.raises(TemplateError, match="loses the thinking of message 4"):
        family("deepseek_r1", past="strip").render(THOUGHTFUL[:-1])
    # Its generation prompt opens a thought that its rendering of the turn does not have.
    with pytest.raises(TemplateError, match="training and inference would differ"):
        family("deepseek_r1").render(PLAIN)
    for past in ("strip", "expand"):
        with pytest.raises(TemplateError, match="training and inference would differ; set template: shipped"):
            family("deepseek_r1", past=past).render(PLAIN[:-1])


def test_incoder_drops_thinking_and_the_shipped_template_does_not(family):
    with pytest.raises(TemplateError, match=r"loses the thinking of message 2 .*template: shipped"):
        family("incoder").render(THOUGHTFUL)
    shipped = family("incoder", template=shipped_template(ObservationRole.TOOL, PastThinking.KEEP))
    assert ("<think>\nFirst.\n</think>\n\n", THINKING, 1) in segments(shipped, THOUGHTFUL)


@pytest.mark.parametrize(("name", "messages"), [("glm45", THOUGHTFUL), ("llama3", PLAIN), ("incoder", PLAIN)])
def test_train_equals_inference_in_every_family(family, name, messages):
    renderer = family(name, role="user" if name == "llama3" else "tool")
    ids = ids_of(renderer, messages)
    assert ids == renderer.tokenizer(renderer.render(messages).text, add_special_tokens=False)["input_ids"]
    for turn in (2, 4):
        prompt = renderer.token_ids(renderer.generation_prompt(messages[:turn]))
        assert ids[: len(prompt)] == prompt


def test_thinking_tags_may_be_plain_text(family):
    """As in the 32B's vocabulary, where they are no tokens of their own."""
    template = shipped_template(ObservationRole.TOOL, PastThinking.KEEP)
    renderer = family("incoder", thinking_tokens=False, template=template)
    (encoded,) = renderer.encode([renderer.render(THOUGHTFUL)])
    position, found = 0, []
    for run in encoded.runs:
        if run.kind in SUPERVISED_KINDS:
            found.append(renderer.tokenizer.decode(encoded.ids[position : position + run.length]))
        position += run.length
    assert found == [
        "<think>\nFirst.\n</think>\n\n",
        "bad code<|im_end|>",
        "<think>\nThen.\n</think>\n\n",
        "good code<|im_end|>",
    ]
    assert encoded.straddling == 0
    assert len(renderer.token_ids("<think>")) > 1
