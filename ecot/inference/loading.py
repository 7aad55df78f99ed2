"""Load an export for inference."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as hf_logging

from ecot.errors import ConfigError


def load_model(folder: Path, device: str, attention: str, key: str) -> PreTrainedModel:
    """Load an export in its own type.

    Args:
        folder: Hugging Face weights.
        device: `auto`, `cpu` or `cuda`.
        attention: implementation, as transformers names it.
        key: of the configuration, which an error names.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"{key} is cuda but torch sees no GPU; set {key}: auto")
    hf_logging.disable_progress_bar()
    target = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", attn_implementation=attention, device_map=target)
    return model.eval()
