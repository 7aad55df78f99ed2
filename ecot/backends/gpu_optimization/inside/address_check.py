"""Turn an access outside every tensor of a launch into an error; Triton's interpreter would read or write there.

The interpreter computes with real addresses. A small overrun gives garbage, a large one ends the process. Every load,
store and atomic passes through five methods of its builder, which are wrapped here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from triton.runtime.interpreter import InterpreterBuilder


class OutOfBoundsError(Exception):
    """A lane of a kernel reached outside of the tensors that the kernel was given."""


class AddressCheck:
    """The memory of the launch under way, and which of it kernels have written so far."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int, str]] = []
        self.written: set[int] = set()
        """First addresses of the storages that a kernel has stored into."""
        self.failure = ""
        """The first violation in words."""

    def enter(self, tensors: dict[str, Any]) -> None:
        """A launch begins, with these tensors by argument name."""
        self._ranges = []
        for name, tensor in tensors.items():
            storage = tensor.untyped_storage()
            self._ranges.append((storage.data_ptr(), storage.nbytes(), name))

    def check(self, kind: str, pointers: Any, mask: Any) -> None:
        """Refuse active lanes that lie outside.

        Args:
            kind: `load`, `store` or `atomic`, for the message.
            pointers: the interpreter's handle of pointers.
            mask: its handle of booleans; None if all lanes are active.

        Raises:
            OutOfBoundsError: says how many lanes, and where the first one points to.
        """
        addresses = np.asarray(pointers.data, dtype=np.uint64).ravel()
        if mask is not None:
            # Conditions on a scalar reach the interpreter's memory operations as integers, which these refuse.
            mask.data = np.asarray(mask.data).astype(bool)
            addresses = addresses[np.broadcast_to(mask.data, np.shape(pointers.data)).ravel().astype(bool)]
        if addresses.size == 0:
            return
        itemsize = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        inside = np.zeros(addresses.shape, dtype=bool)
        for start, size, _ in self._ranges:
            # Unsigned differences wrap below the start, so that one comparison is enough.
            within = (addresses - np.uint64(start)) <= np.uint64(max(size - itemsize, 0))
            within &= size >= itemsize
            if kind != "load" and within.any():
                self.written.add(start)
            inside |= within
        if not inside.all():
            self.failure = self._describe(kind, addresses[~inside])
            raise OutOfBoundsError(self.failure)

    def _describe(self, kind: str, outside: np.ndarray[Any, Any]) -> str:
        lanes = f"{outside.size} lane{'s' if outside.size > 1 else ''}"
        first = int(outside[0])
        # The tensor that the pointer most likely came from: the nearest one.
        if not self._ranges:
            return f"{kind} out of bounds: {lanes}; the kernel was given no tensor"
        start, size, name = min(self._ranges, key=lambda item: _distance(first, item[0], item[1]))
        if _distance(first, start, size) > 1 << 24:
            return f"{kind} out of bounds: {lanes}, far from every tensor of the kernel"
        return f"{kind} out of bounds: {lanes}, first at byte offset {first - start} of the {size}-byte tensor '{name}'"


def _distance(address: int, start: int, size: int) -> int:
    return max(start - address, address - (start + size - 1), 0)


def install(check: AddressCheck) -> None:
    """Wrap the interpreter's memory operations."""
    _wrap("create_masked_load", lambda ptrs, mask, *rest: check.check("load", ptrs, mask))
    _wrap("create_masked_store", lambda ptrs, value, mask, *rest: check.check("store", ptrs, mask))
    _wrap("create_atomic_cas", lambda ptr, *rest: check.check("atomic", ptr, None))
    _wrap("create_atomic_rmw", lambda op, ptr, val, mask, *rest: check.check("atomic", ptr, mask))


def _wrap(name: str, before: Callable[..., None]) -> None:
    original = getattr(InterpreterBuilder, name)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before(*args, *kwargs.values())
        return original(self, *args, **kwargs)

    setattr(InterpreterBuilder, name, wrapped)
