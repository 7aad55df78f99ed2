"""Importing what is large."""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def imported_to_stay() -> Iterator[None]:
    """What is imported inside stays until the process ends, so nobody looks for garbage in it, then or later.

    Two million objects come with torch, transformers and TRL: going through them takes 1 s of the 10 that the import
    takes, and half a second in each full collection of a training run.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # Triton would tell of all its objects that the interpreter's end leaves
        gc.enable()
