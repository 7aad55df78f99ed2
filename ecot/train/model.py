"""Build the model that is trained: existing weights, sharded as they are read, or a fresh Llama-shaped one."""

from __future__ import annotations

import math

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase

from ecot.errors import ConfigError
from ecot.kernels.attention import register_attention
from ecot.train.config import LlamaShape, ModelConfig


def build_model(config: ModelConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """The model in `config.dtype`, on the CPU or, with weights from disk under ZeRO-3, already sharded.

    A fresh model is built whole on every rank from the seed, so that its weights do not depend on the number of
    ranks; DeepSpeed shards it afterwards. That is meant for models that fit.

    Raises:
        ConfigError: the tokenizer has more tokens than the model has rows.
    """
    register_attention()
    dtype = getattr(torch, config.dtype)
    if config.shape is None:
        model = AutoModelForCausalLM.from_pretrained(config.path, dtype=dtype, attn_implementation=config.attention)
    else:
        torch.manual_seed(seed)
        llama = llama_config(config.shape, tokenizer, config.pad_vocabulary_to)
        model = AutoModelForCausalLM.from_config(llama, dtype=dtype, attn_implementation=config.attention)
    rows = model.config.vocab_size
    if len(tokenizer) > rows:
        raise ConfigError(
            f"the tokenizer has {len(tokenizer)} tokens but the model has {rows} rows; use the model's own tokenizer"
        )
    return model


def llama_config(shape: LlamaShape, tokenizer: PreTrainedTokenizerBase, pad_vocabulary_to: int) -> LlamaConfig:
    """The transformers configuration of a shape, with the tokenizer's vocabulary and special tokens."""
    vocabulary = math.ceil(len(tokenizer) / pad_vocabulary_to) * pad_vocabulary_to
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        rms_norm_eps=1e-5,
        initializer_range=shape.initializer_range,
        tie_word_embeddings=shape.tie_embeddings,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def hidden_size_of(config: ModelConfig) -> int:
    """Width of the model, without building it."""
    if config.shape is not None:
        return config.shape.hidden_size
    return int(AutoConfig.from_pretrained(config.path).hidden_size)
