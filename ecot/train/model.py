"""Build the model that is trained: existing weights, sharded as they are read, or a fresh Llama-shaped one."""

from __future__ import annotations

import contextlib
import math

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations import is_deepspeed_zero3_enabled

from ecot.errors import ConfigError
from ecot.kernels.attention import register_attention
from ecot.train.config import LlamaShape, ModelConfig
from ecot.train.model_families import read_model_config
from ecot.train.weights import load_weights


def build_model(config: ModelConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """The model in `config.dtype`, on the CPU or, with weights from disk under ZeRO-3, already sharded.

    A fresh model is built whole on every rank from the seed, so that its weights do not depend on the number of
    ranks; DeepSpeed shards it afterwards. That is meant for models that fit.

    Raises:
        ConfigError: the weights are of a family that cannot be loaded or are not whole, or the tokenizer has too many
            tokens for them.
    """
    register_attention()
    if config.shape is None:
        model = load_weights(config)
        _grow_vocabulary(model, tokenizer, config)
    else:
        torch.manual_seed(seed)
        llama = llama_config(config.shape, tokenizer, config.pad_vocabulary_to)
        dtype = getattr(torch, config.dtype)
        model = AutoModelForCausalLM.from_config(llama, dtype=dtype, attn_implementation=config.attention)
    return model


def _grow_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: ModelConfig) -> None:
    """Give added tokens (a pad or think token) rows of their own, where the model's spare rows do not hold them.

    The embedding and the head grow to a multiple of `pad_vocabulary_to`. New rows, those of the padding too, are the
    mean of the old ones: a new token begins with the logit of an average one. Random rows would not.
    """
    rows = model.config.vocab_size
    added = len(tokenizer) - rows
    if added > config.max_new_tokens:
        raise ConfigError(
            f"the tokenizer has {len(tokenizer)} tokens but the model has {rows} rows, and model.max_new_tokens is "
            f"{config.max_new_tokens}; use the model's own tokenizer, or raise it if the tokens are meant to be new"
        )
    if added > 0:
        wanted = math.ceil(len(tokenizer) / config.pad_vocabulary_to) * config.pad_vocabulary_to
        model.resize_token_embeddings(wanted, mean_resizing=False)
        weights = [model.get_input_embeddings().weight]
        if not model.config.tie_word_embeddings:
            weights.append(model.get_output_embeddings().weight)
        with _gathered(weights), torch.no_grad():
            for weight in weights:
                weight[rows:] = weight[:rows].float().mean(dim=0).to(weight.dtype)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id


def _gathered(weights: list[torch.nn.Parameter]) -> contextlib.AbstractContextManager[None]:
    """Whole weights inside the context, and the first rank's values on all ranks after it."""
    if not is_deepspeed_zero3_enabled():
        return contextlib.nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(weights, modifier_rank=0)


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
    assert config.path is not None
    return int(read_model_config(config.path).hidden_size)
