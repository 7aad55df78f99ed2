"""Existing weights into a model, all of them: none missing, none left over, none of another shape.

Transformers gives a tensor that a checkpoint lacks random values and a line in the log, and under ZeRO-3 it does not
look for tensors that the model has no place for. Either would be another model than the one that was meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel

from ecot.errors import ConfigError
from ecot.train.config import ModelConfig
from ecot.train.model_families import read_model_config

_DERIVED = re.compile(r"rotary_emb\.inv_freq$")
"""Tensors that old checkpoints store and models compute."""
_SHOWN = 5


def load_weights(config: ModelConfig) -> PreTrainedModel:
    """The model of `config.path` in `config.dtype`; under ZeRO-3 it is sharded as it is read, tensor by tensor.

    Raises:
        ConfigError: the weights are not all that the model has, or have other shapes.
    """
    assert config.path is not None
    try:
        model, told = AutoModelForCausalLM.from_pretrained(
            config.path,
            config=read_model_config(config.path),
            dtype=getattr(torch, config.dtype),
            attn_implementation=config.attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
        )
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise
        raise ConfigError(f"model.path: {config.path} does not fit its config.json: {error}") from error
    _require_whole(config.path, model, told)
    return model


def _require_whole(path: str, model: PreTrainedModel, told: dict[str, Any]) -> None:
    wrong = [f"{name} is {[*stored]}, not {[*own]}" for name, stored, own in sorted(told["mismatched_keys"])]
    if wrong:
        raise ConfigError(f"model.path: {path} does not fit its config.json: {_listed(wrong)}")
    if missing := sorted(told["missing_keys"]):
        raise ConfigError(
            f"model.path: {path} lacks {_listed(missing)}, which would be trained from random values; complete the "
            "download, or mend config.json if the model has no such tensors"
        )
    prefix = f"{model.base_model_prefix}."
    known = {*model.state_dict(), *(name.removeprefix(prefix) for name in model.state_dict())}
    ignored = [_DERIVED, *map(re.compile, model._keys_to_ignore_on_load_unexpected or [])]
    stored = {*stored_names(Path(path)), *told["unexpected_keys"]} - known
    if left_over := sorted(name for name in stored if not any(pattern.search(name) for pattern in ignored)):
        raise ConfigError(
            f"model.path: {path} holds {_listed(left_over)}, for which {type(model).__name__} has no place; without "
            "them it is another model: check model_type in its config.json"
        )


def _listed(names: Collection[str]) -> str:
    shown = ", ".join([*names][:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{len(names)} tensors ({shown}, ...)"


def stored_names(folder: Path) -> set[str]:
    """The names of the tensors in a folder of safetensors; empty if there are none, as with an id of the hub."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        return set(json.loads(index.read_text("utf-8"))["weight_map"])
    if not single.is_file():
        return set()
    with safe_open(single, "pt") as file:
        return set(file.keys())
