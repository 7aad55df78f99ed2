"""Logits on a fixed input, kept with a milestone: they tell later whether an export is the model that was trained."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from ecot.train.milestones import PROBE

_TOKENS = 32


def probe_logits(model: PreTrainedModel) -> dict[str, Tensor]:
    """Logits on a fixed input. Under ZeRO-3 every rank must call it.

    Returns `input_ids [1, 32]` int64 and `logits [1, 32, V]` float32.
    """
    vocabulary = model.config.vocab_size
    input_ids = (torch.arange(_TOKENS, device=model.device) * 7919 + 13).remainder(vocabulary)[None]
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=input_ids, use_cache=False).logits.float()
    model.train(training)
    return {"input_ids": input_ids.cpu().contiguous(), "logits": logits.cpu().contiguous()}


def write_probe(folder: Path, probe: dict[str, Tensor]) -> None:
    """Add a probe to a checkpoint that is being written (rank 0)."""
    save_file(probe, folder / PROBE)
