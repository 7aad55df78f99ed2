"""Read the configuration beside weights, also of a family without a class in transformers whose shape is Llama's.

InCoder-32B and the IQuest-Coder-V1 family say `model_type: iquestcoder` and bring code of their own. Their layers are
Llama's (the same nine tensors a layer by the same names; mlx-lm and llama.cpp load them as Llama too), so they are read
as Llama here, without running that code, and what is trained is exported as Llama, which every server loads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, LlamaConfig, PretrainedConfig

from ecot.errors import ConfigError

LLAMA_ALIASES = {"iquestcoder"}
"""`model_type`s that are Llama under another name."""

_MUST_BE_OFF = ("clip_qkv", "use_sliding_window", "sliding_window", "attention_bias", "mlp_bias", "attention_dropout")
"""Options of those families that Llama lacks or that were never seen set: another value would be another model."""
_FOREIGN = {"architectures", "auto_map", "model_type", "clip_qkv", "use_sliding_window", "sliding_window"}


def read_model_config(path: str) -> PretrainedConfig:
    """The configuration of weights in a folder, or on the hub.

    Raises:
        ConfigError: the weights are of an aliased family, but with an option that Llama does not have.
    """
    file = Path(path) / "config.json"
    values: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    if values.get("model_type") not in LLAMA_ALIASES:
        return AutoConfig.from_pretrained(path)
    for name in _MUST_BE_OFF:
        if values.get(name):
            raise ConfigError(
                f"{file}: {name} is {values[name]!r}, which Llama does not have, so these weights cannot be trained as "
                "Llama; use weights without it"
            )
    return LlamaConfig(**{name: value for name, value in values.items() if name not in _FOREIGN})
