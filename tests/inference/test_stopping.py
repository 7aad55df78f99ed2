"""A turn ends where training taught the model to end it, whatever the tokenizer's eos_token is."""

from pathlib import Path

import pytest
from tokenizers import AddedToken

from ecot.data_mix.config import ObservationRole, PastThinking, TrainTokenizerConfig
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.tokenizer import train_tokenizer
from ecot.errors import TemplateError
from ecot.inference.stopping import end_of_turn_ids
from ecot.trajectories import Message, Role

TEMPLATES = Path(__file__).parents[1] / "data_mix" / "templates"
OPENING = (Message(Role.SYSTEM, "You design gates."), Message(Role.USER, "Write an and gate."))


def renderer(template, *special, past_thinking=PastThinking.KEEP):
    tokenizer = train_tokenizer(["assign y = a & b;"], TrainTokenizerConfig(vocab_size=512))
    tokenizer.add_special_tokens({"eos_token": "<|endoftext|>"})
    tokenizer.add_tokens([AddedToken(text, special=True) for text in special], special_tokens=True)
    tokenizer.chat_template = template
    return Renderer(tokenizer, ObservationRole.TOOL, past_thinking)


def tokens(renderer, ids):
    return renderer.tokenizer.convert_ids_to_tokens(list(ids))


def test_a_base_tokenizer_with_chatml_ends_turns_with_im_end():
    made = renderer((TEMPLATES / "qwen25.jinja").read_text())
    assert tokens(made, end_of_turn_ids(made, OPENING)) == ["<|im_end|>", "<|endoftext|>"]


def test_it_is_the_token_that_the_last_trained_turn_ends_with():
    made = renderer((TEMPLATES / "qwen25.jinja").read_text())
    conversation = (*OPENING, Message(Role.ASSISTANT, "assign y = a & b;"))
    (encoded,) = made.encode([made.render(conversation)])
    supervised, position = [], 0
    for run in encoded.runs:
        supervised += encoded.ids[position : position + run.length].tolist() if run.kind.name == "ANSWER" else []
        position += run.length
    assert end_of_turn_ids(made, OPENING)[0] == supervised[-1]


def test_without_an_end_of_turn_it_is_the_token_of_whoever_is_next():
    special = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
    made = renderer((TEMPLATES / "glm45.jinja").read_text(), *special)
    assert tokens(made, end_of_turn_ids(made, OPENING)) == ["<|user|>", "<|observation|>", "<|endoftext|>"]


def test_a_template_without_any_end_is_refused():
    made = renderer("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ")
    with pytest.raises(TemplateError):
        end_of_turn_ids(made, OPENING)
