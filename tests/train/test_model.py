"""Existing weights: the family's other name, and vocabularies that grow."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
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


def rewrite(folder, change):
    """Change the tensors of a folder, in one file afterwards."""
    tensors = {}
    for path in folder.glob("*.safetensors"):
        tensors |= load_file(path)
        path.unlink()
    (folder / "model.safetensors.index.json").unlink()
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


NORM = "model.layers.1.input_layernorm.weight"
BIAS = "model.layers.0.mlp.bias"
WRONG_WEIGHTS = {
    "missing": (lambda tensors: tensors.pop(NORM), rf"lacks {NORM}, which would be trained from random values"),
    "more": (lambda tensors: tensors.update({BIAS: torch.ones(3)}), f"holds {BIAS}, for which LlamaForCausalLM has no"),
    "shape": (lambda tensors: tensors.update({NORM: torch.ones(3)}), rf"config.json: {NORM} is \[3\], not \[32\]"),
}


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
def test_weights_that_are_not_the_models_are_refused(make_weights, case):
    folder, _ = make_weights()
    change, message = WRONG_WEIGHTS[case]
    rewrite(folder, change)
    with pytest.raises(ConfigError, match=message):
        load(folder, make_tokenizer(90))


def test_tensors_that_models_compute_may_be_stored(make_weights):
    folder, original = make_weights()
    rewrite(folder, lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    assert torch.equal(load(folder, make_tokenizer(90)).lm_head.weight, original.lm_head.weight)


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


def test_a_vocabulary_grows_alike_and_no_rank_holds_the_model_under_zero3(tmp_path, make_weights):
    small, original = make_weights(**IQUESTCODER)
    shape = {"hidden_size": 512, "intermediate_size": 1408, "num_attention_heads": 8, "num_key_value_heads": 2}
    large = LlamaForCausalLM(LlamaConfig(vocab_size=128, num_hidden_layers=24, **shape))
    large.save_pretrained(tmp_path / "large", max_shard_size="20MB")
    make_tokenizer(98).save_pretrained(tmp_path / "tokenizer")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = []
    for rank in range(2):
        environment = dict(os.environ, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", OMP_NUM_THREADS="1")
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2"}
        command = [sys.executable, str(RANK), str(small), str(tmp_path / "tokenizer"), str(tmp_path / "large")]
        ranks.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    found = [json.loads(process.communicate(timeout=500)[0].splitlines()[-1]) for process in ranks]
    assert found[0]["rows"] == found[1]["rows"] == 128
    expected = original.get_output_embeddings().weight.detach()
    head = torch.tensor(found[1]["head"])
    assert torch.equal(head[:96], expected)
    torch.testing.assert_close(head[96:], expected.mean(dim=0).expand(32, -1))
    whole = sum(4 * parameter.numel() for parameter in large.parameters())
    assert whole > 240e6
    assert all(0.4 * whole < rank["risen"] < 0.75 * whole for rank in found), "half of it, and some room"
    shutil.rmtree(tmp_path / "large")
