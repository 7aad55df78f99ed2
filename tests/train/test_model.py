"""Existing weights: the family's other name, and vocabularies that grow."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ecot.errors import ConfigError
from ecot.train.config import ModelConfig
from ecot.train.model import build_model, hidden_size_of

IQUESTCODER = {
    # The keys of the published config.json that a LlamaConfig does not write by itself.
    "architectures": ["IQuestCoderForCausalLM"],
    "model_type": "iquestcoder",
    "auto_map": {"AutoConfig": "configuration_iquestcoder.IQuestCoderConfig"},
    "attention_bias": False,
    "mlp_bias": False,
    "clip_qkv": None,
    "use_sliding_window": False,
    "sliding_window": None,
    "pretraining_tp": 1,
    "rope_theta": 500000.0,
    "rope_scaling": None,
    "eos_token_id": [2, 5, 7],
}
IDS = torch.arange(40)[None] % 90


def make_tokenizer(size):
    words = {f"w{index}": index for index in range(size)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), unk_token="w0", pad_token="w1"
    )


@pytest.fixture
def make_weights(tmp_path):
    """Writes a tiny Llama, and returns it with its folder."""

    def make(name="weights", tied=False, **changes):
        torch.manual_seed(3)
        config = LlamaConfig(
            vocab_size=96,
            hidden_size=32,
            intermediate_size=56,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
            tie_word_embeddings=tied,
            initializer_range=0.5,  # sharp attention, so that positions matter
        )
        model = LlamaForCausalLM(config).eval()
        model.save_pretrained(tmp_path / name, max_shard_size="20KB")
        if changes:
            path = tmp_path / name / "config.json"
            values = json.loads(path.read_text())
            del values["rope_parameters"]
            path.write_text(json.dumps(values | changes))
        return tmp_path / name, model

    return make


def load(folder, tokenizer, **options):
    return build_model(ModelConfig(path=str(folder), dtype="float32", **options), tokenizer, 0).eval()


@torch.no_grad()
def test_iquestcoder_weights_load_as_llama_with_the_same_logits(make_weights):
    folder, original = make_weights(**IQUESTCODER)
    model = load(folder, make_tokenizer(90))
    assert type(model) is LlamaForCausalLM and model.config.model_type == "llama"
    torch.testing.assert_close(model(IDS).logits, original(IDS).logits, rtol=1e-4, atol=1e-4)
    assert model.config.eos_token_id == [2, 5, 7] and hidden_size_of(ModelConfig(path=str(folder))) == 32
    other = dict(IQUESTCODER, rope_theta=10_000.0)
    elsewhere = load(make_weights("other", **other)[0], make_tokenizer(90))
    assert not torch.allclose(elsewhere(IDS).logits, original(IDS).logits, atol=1e-3), "its rotary base is read"


@pytest.mark.parametrize("option", [{"clip_qkv": 8.0}, {"sliding_window": 4096}, {"attention_bias": True}])
def test_options_that_llama_lacks_are_refused(make_weights, option):
    folder, _ = make_weights(**{**IQUESTCODER, **option})
    with pytest.raises(ConfigError, match=f"{next(iter(option))} is .* which Llama does not have"):
        load(folder, make_tokenizer(90))


@torch.no_grad()
@pytest.mark.parametrize("tied", [False, True])
def test_new_tokens_begin_as_the_mean_and_move_no_other_logit(make_weights, tied, tmp_path):
    folder, original = make_weights(tied=tied)
    model = load(folder, make_tokenizer(98))
    assert model.config.vocab_size == 128, "a multiple of 64"
    logits, expected = model(IDS).logits, original(IDS).logits
    torch.testing.assert_close(logits[..., :96], expected, rtol=1e-4, atol=1e-4)
    mean = expected.mean(dim=-1, keepdim=True).expand(-1, -1, 32)
    torch.testing.assert_close(logits[..., 96:], mean, rtol=1e-3, atol=1e-3)
    embedding = model.get_input_embeddings().weight
    assert torch.equal(embedding[97], embedding[127])
    assert (model.get_output_embeddings().weight is embedding) == tied
    model.save_pretrained(tmp_path / "again")
    assert LlamaForCausalLM.from_pretrained(tmp_path / "again").get_output_embeddings().weight.shape == (128, 32)


def test_spare_rows_are_used_and_a_foreign_tokenizer_is_refused(make_weights):
    folder, _ = make_weights()
    assert load(folder, make_tokenizer(96)).config.vocab_size == 96
    with pytest.raises(ConfigError, match=r"has 161 tokens but the model has 96 rows, and model\.max_new_tokens is 64"):
        load(folder, make_tokenizer(161))


RANK = Path(__file__).with_name("load_under_zero3.py")


def test_a_vocabulary_grows_alike_on_all_ranks_under_zero3(tmp_path, make_weights):
    small, original = make_weights(**IQUESTCODER)
    make_tokenizer(98).save_pretrained(tmp_path / "tokenizer")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = []
    for rank in range(2):
        environment = dict(os.environ, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", OMP_NUM_THREADS="1")
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2"}
        command = [sys.executable, str(RANK), str(small), str(tmp_path / "tokenizer")]
        ranks.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    found = [json.loads(process.communicate(timeout=500)[0].splitlines()[-1]) for process in ranks]
    assert found[0]["rows"] == found[1]["rows"] == 128
    expected = original.get_output_embeddings().weight.detach()
    head = torch.tensor(found[1]["head"])
    assert torch.equal(head[:96], expected)
    torch.testing.assert_close(head[96:], expected.mean(dim=0).expand(32, -1))
