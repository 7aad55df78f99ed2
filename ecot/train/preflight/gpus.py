"""Data-sheet figures of the accelerators that estimates are made for."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from ecot.errors import ConfigError

GB = 10**9
GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """One accelerator."""

    name: str
    memory_bytes: int
    """What a process can allocate: below the nominal size by what driver, context and NCCL take (about 2 GiB)."""
    bf16_flops: float
    """Dense bf16 matrix peak of the data sheet, FLOP/s, without sparsity: what MFU is relative to."""
    link_bytes: float
    """Bytes/s per GPU and direction inside a node (NVLink, or PCIe where there is none)."""
    network_bytes: float
    """The same between nodes: one 400 Gbit/s (200 for A100) adapter per GPU, as in the vendors' reference nodes."""


_OVERHEAD = 2 * GIB

GPUS = {
    gpu.name: gpu
    for gpu in (
        # NVIDIA data sheets: A100 (80 GB SXM), H100 SXM, H200 SXM, H20, L40S, B200.
        Gpu("a100-40", 40 * GIB - _OVERHEAD, 312e12, 300 * GB, 25 * GB),
        Gpu("a100", 80 * GIB - _OVERHEAD, 312e12, 300 * GB, 25 * GB),
        Gpu("h100", 80 * GIB - _OVERHEAD, 989.4e12, 450 * GB, 50 * GB),
        Gpu("h800", 80 * GIB - _OVERHEAD, 989.4e12, 200 * GB, 50 * GB),
        Gpu("h200", 141 * GB - _OVERHEAD, 989.4e12, 450 * GB, 50 * GB),
        Gpu("h20", 96 * GIB - _OVERHEAD, 148e12, 450 * GB, 50 * GB),
        Gpu("l40s", 48 * GIB - _OVERHEAD, 362e12, 32 * GB, 25 * GB),
        Gpu("b200", 180 * GB - _OVERHEAD, 2250e12, 900 * GB, 50 * GB),
    )
}

NO_GPU = "cpu"
"""Ranks on the CPU, as in tests: neither memory nor speed is estimated."""


def find_gpu(name: str) -> Gpu | None:
    """The accelerator called `name`; `auto` asks nvidia-smi; None for ranks on the CPU.

    Raises:
        ConfigError: the name is unknown.
    """
    wanted = _detect() if name == "auto" else name.lower()
    if wanted == NO_GPU:
        return None
    if wanted not in GPUS:
        raise ConfigError(
            f"no figures for the GPU {wanted!r}; known are {', '.join(GPUS)} and cpu. For another one name the nearest "
            "and give its memory with --gpu-memory"
        )
    return GPUS[wanted]


def _detect() -> str:
    """The name of this machine's first GPU; `cpu` when there is none."""
    try:
        command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits", "--id=0"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return NO_GPU
    if result.returncode != 0 or not result.stdout.strip():
        return NO_GPU
    return name_of(*result.stdout.strip().splitlines()[0].split(","))


def name_of(product: str, memory_mib: str) -> str:
    """Our name for what nvidia-smi calls `product`, for example `NVIDIA H100 80GB HBM3`."""
    words = re.split(r"[^a-z0-9]+", product.lower())
    short = next((word for word in words if word in GPUS), product.strip())
    return "a100-40" if short == "a100" and int(memory_mib) < 50_000 else short
