"""What KernelBench and TritonBench-T have in common: the reference is plain PyTorch, and candidates bring kernels.

The reference cannot be held to the rule that work is done by kernels, so the backend judges exactly this text by its
values alone; any other candidate without a kernel, a copy of the module in the specification included, is NOT_IMPROVED.
"""

from __future__ import annotations

import hashlib
from typing import Any

SETTINGS: dict[str, Any] = {
    "torch_ops": "any",
    "reference_is_baseline": True,
    "rtol": 1e-3,
    "atol": 1e-3,
    "run_seconds": 120,
    "memory_mib": 8192,
}
"""For the backend; tolerances as wide as single-precision sums in another order need."""

RULE = (
    "PyTorch may do whatever you do not replace, but at least one Triton kernel of yours must take part. "
    "Write one Python module; import nothing but torch, triton and the standard library's math, typing, functools, "
    "itertools, collections and dataclasses.\n"
)


def baseline(code: str) -> str:
    """The reference as a candidate, told apart from copies of what a specification shows by its first line."""
    digest = hashlib.sha256(code.encode()).hexdigest()
    return f"# The baseline of this task, {digest}: judged by its values alone.\n{code}"
