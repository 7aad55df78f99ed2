"""The trained tokenizer: deterministic, lossless, saved whole with its template."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from ecot.data_mix.config import TrainTokenizerConfig
from ecot.data_mix.tokenizer import (
    corpus_texts,
    load_tokenizer,
    prepare_tokenizer,
    save_tokenizer,
    set_template,
    tokenizer_hash,
    train_tokenizer,
)
from ecot.errors import DataError, TemplateError

TRAIN = """
import json, sys
from ecot.data_mix.config import TrainTokenizerConfig
from ecot.data_mix.tokenizer import train_tokenizer
texts = json.load(sys.stdin)
print(train_tokenizer(texts, TrainTokenizerConfig(vocab_size=600)).backend_tokenizer.to_str())
"""


def test_equal_texts_give_the_same_tokenizer_in_every_process(trajectories):
    texts = list(corpus_texts(trajectories[:40]))
    here = train_tokenizer(texts, TrainTokenizerConfig(vocab_size=600)).backend_tokenizer.to_str()
    command = [sys.executable, "-c", TRAIN]
    there = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(there.stdout) == json.loads(here)


def test_special_tokens_and_size(bare_tokenizer, trajectories):
    ids = bare_tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    assert ids == [0, 1, 2]
    assert (bare_tokenizer.pad_token_id, bare_tokenizer.eos_token_id) == (0, 2)
    assert bare_tokenizer("<think>x</think>")["input_ids"][0] == bare_tokenizer.convert_tokens_to_ids("<think>")
    text = "<|im_start|><think>x</think><|im_end|>"
    assert bare_tokenizer.decode(bare_tokenizer(text)["input_ids"], skip_special_tokens=True) == "<think>x</think>"
    exact = train_tokenizer(corpus_texts(trajectories), TrainTokenizerConfig(vocab_size=512, min_frequency=1))
    assert len(exact) <= 512


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_every_text_survives(bare_tokenizer, text):
    ids = bare_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert bare_tokenizer.decode(ids) == text


def test_the_saved_tokenizer_is_the_same_in_plain_transformers(tmp_path, bare_tokenizer, data_config):
    set_template(bare_tokenizer, data_config())
    save_tokenizer(bare_tokenizer, tmp_path / "tok", "key")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "tok")
    assert tokenizer_hash(loaded) == tokenizer_hash(bare_tokenizer)
    assert (tmp_path / "tok" / "chat_template.jinja").read_text("utf-8") == bare_tokenizer.chat_template
    assert loaded.is_fast and loaded.eos_token == "<|im_end|>" and loaded.pad_token == "<|endoftext|>"
    assert [path.name for path in tmp_path.iterdir()] == ["tok"]


def test_it_is_trained_once_and_again_when_its_corpus_changes(tmp_path, trajectories, data_config):
    calls = []

    def texts():
        calls.append(1)
        return corpus_texts(trajectories[:20])

    config = data_config()
    first = prepare_tokenizer(config, tmp_path / "tok", texts, "corpus-1")
    again = prepare_tokenizer(config, tmp_path / "tok", texts, "corpus-1")
    assert tokenizer_hash(first) == tokenizer_hash(again) and len(calls) == 1
    prepare_tokenizer(config, tmp_path / "tok", texts, "corpus-2")
    prepare_tokenizer(data_config(observation_role="user"), tmp_path / "tok", texts, "corpus-2")
    assert len(calls) == 3


def test_a_given_tokenizer_is_copied_with_the_runs_template(tmp_path, bare_tokenizer, data_config):
    bare_tokenizer.chat_template = "own"
    bare_tokenizer.save_pretrained(tmp_path / "base")
    config = data_config(tokenizer={"path": str(tmp_path / "base")})
    shipped = prepare_tokenizer(config, tmp_path / "a", list, "")
    assert "keep_past_thinking = true" in shipped.chat_template
    own = data_config(tokenizer={"path": str(tmp_path / "base")}, template="base")
    assert prepare_tokenizer(own, tmp_path / "b", list, "").chat_template == "own"


def test_what_cannot_be_used_is_refused(tmp_path, bare_tokenizer, data_config):
    with pytest.raises(DataError, match="no folder"):
        load_tokenizer(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no Hugging Face tokenizer"):
        load_tokenizer(tmp_path / "empty")
    with pytest.raises(DataError, match="trajectories are empty"):
        train_tokenizer([], TrainTokenizerConfig())
    bare_tokenizer.chat_template = None
    config = data_config(tokenizer={"path": str(tmp_path)}, template="base")
    with pytest.raises(TemplateError, match="set template: shipped"):
        set_template(bare_tokenizer, config)


def test_the_shipped_template_needs_its_tokens(data_config, trajectories):
    bare = train_tokenizer(corpus_texts(trajectories[:5]), TrainTokenizerConfig(vocab_size=512))
    backend = json.loads(bare.backend_tokenizer.to_str())
    backend["added_tokens"] = [token for token in backend["added_tokens"] if token["content"] != "<|im_end|>"]
    other = type(bare)(tokenizer_object=type(bare.backend_tokenizer).from_str(json.dumps(backend)))
    with pytest.raises(TemplateError, match=r"lacks <\|im_end\|>"):
        set_template(other, data_config())
