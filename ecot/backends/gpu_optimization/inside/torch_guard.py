"""What a candidate may do with PyTorch beside its own kernels: get memory and look at it in another shape.

Two of PyTorch's own mechanisms are used: a dispatch mode sees every operator that is really carried out, wherever it is
called from; a function mode lets code that says `device="cuda"` run here.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ALLOCATING = frozenset(
    "empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros ones ones_like new_ones "
    "full full_like new_full fill fill_ zero_ scalar_tensor arange".split()
)
"""Give memory with constant contents (or positions)."""

COPYING = frozenset("clone _to_copy copy_ contiguous set_ lift_fresh lift_fresh_copy resize_".split())
"""Move values without computing any; a change of dtype rounds at most."""

VIEWING = frozenset(
    "view _unsafe_view reshape _reshape_alias transpose t permute expand as_strided slice select unsqueeze squeeze "
    "alias detach detach_ unbind split split_with_sizes chunk narrow diagonal unfold movedim numpy_T view_as_real "
    "view_as_complex is_same_size sym_size sym_stride sym_numel sym_storage_offset".split()
)
"""Other shapes of the same memory."""

_ALLOWED = ALLOCATING | COPYING | VIEWING


class OperatorRefusedError(Exception):
    """The candidate asked PyTorch to compute."""


class OperatorGuard(TorchDispatchMode):
    """Refuses operators that compute, and follows values written by kernels through copies."""

    def __init__(self, written: set[int], allow_any: bool) -> None:
        super().__init__()
        self._written = written
        self._allow_any = allow_any
        self.suspended = False
        """Whether the interpreter itself is at work."""
        self.refused: list[str] = []
        """Names of refused operators: a candidate may catch the exception, but not undo this."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Skipping it imports it, which takes seconds; nothing is compiled by it here anyway."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name not in _ALLOWED:
            self.refuse(name)
        result = func(*args, **(kwargs or {}))
        if not self.suspended and name in COPYING:
            self._follow(args, result)
        return result

    @contextlib.contextmanager
    def suspend(self) -> Iterator[None]:
        """Let everything through for a while: it is not the candidate who asks."""
        before, self.suspended = self.suspended, True
        try:
            yield
        finally:
            self.suspended = before

    def refuse(self, name: str) -> None:
        """Refuse an operator, unless all are allowed or it is the interpreter that calls it.

        Raises:
            OperatorRefusedError: it is refused.
        """
        if not self.suspended and not self._allow_any:
            self.refused.append(name)
            raise OperatorRefusedError(f"torch operator '{name}' may not do the work of the kernel")

    def _follow(self, args: Any, result: Any) -> None:
        sources = [value for value in args if isinstance(value, torch.Tensor)]
        if isinstance(result, torch.Tensor) and any(self.was_written(value) for value in sources):
            self._written.add(result.untyped_storage().data_ptr())

    def was_written(self, tensor: torch.Tensor) -> bool:
        """Whether a kernel stored into the tensor's memory, or into what it was copied from."""
        return tensor.untyped_storage().data_ptr() in self._written


_READING = frozenset(
    "item tolist numpy from_numpy __array__ __float__ __int__ __bool__ __index__ storage untyped_storage data_ptr "
    "__dlpack__ frombuffer from_file".split()
)
"""Give values to Python, where any work could be done with them."""


class PretendCuda(TorchFunctionMode):
    """Tensors say that they are on a GPU, and requests for one are met on the CPU; Python may not see their values."""

    def __init__(self, guard: OperatorGuard) -> None:
        super().__init__()
        self._guard = guard

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _READING:
            self._guard.refuse(name)
        if name == "cuda" or (name == "to" and len(args) == 2 and _is_cuda(args[1])):
            return args[0]
        if name == "__get__" and getattr(func, "__self__", None) is torch.Tensor.is_cuda:
            return True
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def _is_cuda(device: Any) -> bool:
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, str) and device.split(":")[0] == "cuda"


def pretend_a_gpu(arch: int) -> None:
    """Answer the questions that launch code asks of `torch.cuda`, as an H100 would; nothing is started there."""
    properties = types.SimpleNamespace(
        multi_processor_count=132, name="interpreter", major=arch // 10, minor=arch % 10, total_memory=80 << 30
    )
    cuda: Any = torch.cuda
    cuda.is_available = lambda: True
    cuda.synchronize = lambda device=None: None
    cuda.current_device = lambda: 0
    cuda.device = lambda device: contextlib.nullcontext()
    cuda.get_device_properties = lambda device=None: properties
    cuda.get_device_capability = lambda device=None: (arch // 10, arch % 10)
