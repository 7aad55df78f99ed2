"""Whether this machine can have a GPU at all, told without torch."""

from __future__ import annotations

from pathlib import Path

_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA's and AMD's drivers, and of either under Windows: where there is none torch finds no GPU."""


def has_gpu_driver() -> bool:
    """Whether a driver's device exists; only then is torch worth asking."""
    return any(Path(device).exists() for device in _DEVICES)
