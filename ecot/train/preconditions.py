"""What is checked before ranks start."""

from __future__ import annotations

import torch

from ecot.errors import ConfigError


def count_local_ranks(wanted: int) -> int:
    """Ranks to start on this machine.

    Args:
        wanted: `train.local_ranks`; 0 for one per GPU, or 1 without a GPU.

    Raises:
        ConfigError: more ranks than GPUs.
    """
    gpus = torch.cuda.device_count()
    if gpus and wanted > gpus:
        raise ConfigError(f"train.local_ranks is {wanted} but this machine has {gpus} GPUs; lower it")
    return wanted or gpus or 1
