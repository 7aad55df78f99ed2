"""What an evaluation ran on, for the record."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch

PACKAGES = ("ecot", "torch", "transformers", "trl", "deepspeed", "accelerate", "tokenizers", "pyarrow")


def describe_environment(device: torch.device) -> dict[str, str]:
    """Versions of the packages that decide figures, and the machine."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores"
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": where,
        "threads": str(torch.get_num_threads()),
        **versions,
    }
