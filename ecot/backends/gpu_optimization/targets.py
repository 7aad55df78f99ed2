"""What the GPUs that kernels are compiled for have to give."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One GPU architecture."""

    arch: int
    """As in `sm_90`."""
    shared_bytes: int
    """Shared memory that one block may take, if it asks for it."""
    registers: int = 255
    """Registers that one thread may take."""


# CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability": maximum amount of shared memory
# per thread block.
TARGETS = {
    "sm_80": Target(80, 163 << 10),
    "sm_86": Target(86, 99 << 10),
    "sm_89": Target(89, 99 << 10),
    "sm_90": Target(90, 227 << 10),
}
"""By name; `sm_90`, the H100's, without another choice."""
