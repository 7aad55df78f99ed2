"""Put a fork server's memory into huge pages: a fork then copies hundreds of table entries, not tens of thousands."""

from __future__ import annotations

import ctypes
import gc

_HUGE_PAGE = 2 << 20
"""Bytes, on x86-64 and on arm64 with pages of 4 KiB; elsewhere the kernel refuses, and nothing changes."""
_COLLAPSE = 25
"""MADV_COLLAPSE of Linux 6.1; see madvise(2)."""


def collapse() -> int:
    """Collapse the memory that this process has allocated so far.

    There is no `/proc` here to look for it in. The C library's heap ends at the break and reaches down from there
    without a gap; Python's own arenas are where its objects are. What is not memory of that kind is refused by the
    kernel and stays as it was, as does everything on a kernel that does not know the call.

    Returns:
        How many huge pages there are now.
    """
    library = ctypes.CDLL(None)
    library.sbrk.restype = ctypes.c_void_p
    library.sbrk.argtypes = [ctypes.c_ssize_t]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def collapsed(start: int) -> bool:
        return library.madvise(start, _HUGE_PAGE, _COLLAPSE) == 0

    heap = library.sbrk(0) // _HUGE_PAGE * _HUGE_PAGE - _HUGE_PAGE
    done = set()
    while collapsed(heap):
        done.add(heap)
        heap -= _HUGE_PAGE
    arenas = {id(item) // _HUGE_PAGE * _HUGE_PAGE for item in gc.get_objects()} - done
    return len(done) + sum(map(collapsed, arenas))
