"""Whether two plain values are the same, and how they are shown."""

from __future__ import annotations

import math
import re
from typing import Any

_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_SHOWN = 160


def is_same(got: Any, want: Any, relative: float, absolute: float) -> bool:
    """Same types and values throughout; a whole number may stand for a floating point one, within the tolerances."""
    if type(want) is float and type(got) in (int, float):
        if got == want or (got != got and want != want):
            return True
        return math.isfinite(want) and abs(got - want) <= absolute + relative * abs(want)
    if type(got) is not type(want):
        return False
    if isinstance(want, list | tuple):
        return len(got) == len(want) and all(map(lambda g, w: is_same(g, w, relative, absolute), got, want))
    if isinstance(want, dict):
        # Keys by type too: True and 1 are one key to Python.
        if {(type(key), key) for key in got} != {(type(key), key) for key in want}:
            return False
        return all(is_same(got[key], item, relative, absolute) for key, item in want.items())
    return bool(got == want)


def show(value: Any) -> str:
    """A value as source text, cut; sets in an order of their own, since Python's differs from run to run."""
    text = _show(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def without_addresses(text: str) -> str:
    """Messages may show where in memory an object lies."""
    return _ADDRESS.sub("0x...", text)


def _show(value: Any) -> str:
    if isinstance(value, set | frozenset):
        items = ", ".join(sorted(map(_show, value)))
        shown = f"{{{items}}}" if value else "set()"
        return shown if isinstance(value, set) else f"frozenset({shown})"
    if isinstance(value, list):
        return f"[{', '.join(map(_show, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_show, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_show(key)}: {_show(item)}' for key, item in value.items())}}}"
    return repr(value)
