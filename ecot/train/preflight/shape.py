"""The sizes of a model that estimates need, read from the configuration or from the `config.json` of its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecot.errors import ConfigError
from ecot.train.config import LlamaShape, WeightsShape

_QKV_BIAS = {"qwen2"}
_QK_NORM = {"qwen3"}
_LLAMA_LIKE = {"llama", "iquestcoder", "mistral", *_QKV_BIAS, *_QK_NORM}


@dataclass(frozen=True)
class ModelShape:
    """A Llama-shaped decoder: grouped-query attention, SwiGLU, two norms a layer."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    tied: bool
    qkv_bias: bool = False
    qk_norm: bool = False

    @property
    def layer_matrices(self) -> int:
        """Parameters of one layer's matrices."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def layer_parameters(self) -> int:
        """All parameters of one layer."""
        norms = 2 * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        bias = self.head_dim * (self.heads + 2 * self.kv_heads) if self.qkv_bias else 0
        return self.layer_matrices + norms + bias

    @property
    def head_parameters(self) -> int:
        """Parameters of the embedding, and as many of the head."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters; a tied head counts once."""
        embeddings = self.head_parameters * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + embeddings + self.hidden

    @property
    def multiplied_parameters(self) -> int:
        """Parameters that every token is multiplied by: all matrices but the embedding, which is looked up."""
        return self.layers * self.layer_matrices + self.head_parameters


def shape_from_config(shape: LlamaShape, vocabulary: int) -> ModelShape:
    """The shape of a `model.shape` or `model.expect` section."""
    return ModelShape(
        vocabulary=vocabulary,
        hidden=shape.hidden_size,
        intermediate=shape.intermediate_size,
        layers=shape.num_layers,
        heads=shape.num_heads,
        kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        max_positions=shape.max_position_embeddings,
        tied=shape.tie_embeddings,
        qkv_bias=isinstance(shape, WeightsShape) and shape.qkv_bias,
    )


def shape_from_weights(folder: Path) -> ModelShape:
    """The shape that the `config.json` beside weights states.

    Raises:
        ConfigError: it is missing, or of a family whose parameters are not counted here.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"model.path: {folder} holds no config.json; name a folder of Hugging Face weights")
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    family = values.get("model_type")
    if family not in _LLAMA_LIKE:
        raise ConfigError(
            f"{path}: model_type {family!r} is not counted here; its memory cannot be told (counted are "
            f"{', '.join(sorted(_LLAMA_LIKE))})"
        )
    heads = values["num_attention_heads"]
    return ModelShape(
        vocabulary=values["vocab_size"],
        hidden=values["hidden_size"],
        intermediate=values["intermediate_size"],
        layers=values["num_hidden_layers"],
        heads=heads,
        kv_heads=values.get("num_key_value_heads") or heads,
        head_dim=values.get("head_dim") or values["hidden_size"] // heads,
        max_positions=values["max_position_embeddings"],
        tied=bool(values.get("tie_word_embeddings", False)),
        qkv_bias=family in _QKV_BIAS or bool(values.get("attention_bias", False)),
        qk_norm=family in _QK_NORM,
    )
