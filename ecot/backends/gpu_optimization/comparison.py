"""Outputs against what was expected, on the trusted side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecot.backends.gpu_optimization.inside.exchange import Case

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Comparison:
    """How the outputs of all cases compare."""

    elements: int
    """Compared in all."""
    mismatches: int
    """Of them wrong; all elements of an output whose shape or dtype is wrong."""
    numeric: bool
    """Whether the first failure is of floating-point values, as against integers, shapes or types."""
    text: str
    """What is told about it; empty if all is right."""


def compare(
    places: Sequence[str], expected: Sequence[Case], outputs: Sequence[Case], rtol: float, atol: float
) -> Comparison:
    """Compare every output of every case; text and kind are those of the first that differs.

    Args:
        places: how to speak of each case.
        expected: outputs of each case by name, in order.
        outputs: what the candidate gave, in the same order; names do not count.
        rtol: relative tolerance of floating-point values.
        atol: absolute tolerance of floating-point values.
    """
    total, wrong, numeric, text, failed = 0, 0, False, "", 0
    for index, (wanted, got) in enumerate(zip(expected, outputs, strict=True)):
        faults = 0
        if len(wanted) != len(got):
            faults = sum(value.size for value in wanted.values())
            text = text or f"{places[index]}: " + f"{len(got)} outputs instead of {len(wanted)}\n"
        for (name, want), have in zip(wanted.items(), got.values(), strict=False):
            total += want.size
            problem = _interface(want, have)
            bad = np.ones(want.shape, bool) if problem else _differing(want, have, rtol, atol)
            faults += int(bad.sum())
            if not text and (problem or bad.any()):
                numeric = not problem and np.issubdtype(want.dtype, np.floating)
                text = f"{places[index]}: " + f"output '{name}': " + (problem or _describe(want, have, bad)) + "\n"
        wrong += faults
        failed += text != "" and (faults > 0 or len(wanted) != len(got))
    if text:
        text += f"{failed} of {len(expected)} cases fail\n"
    return Comparison(total, wrong, bool(numeric), text)


def describe_case(index: int, case: Case) -> str:
    """A case's number and arguments, arrays as dtype and shape."""
    parts = []
    for name, value in case.items():
        if isinstance(value, np.ndarray):
            parts.append(f"{name}: {value.dtype.name}[{', '.join(map(str, value.shape))}]")
        else:
            parts.append(f"{name}={value!r}")
    return f"case {index} ({', '.join(parts)})"


def _interface(want: Array, have: Any) -> str:
    if not isinstance(have, np.ndarray):
        return f"a {type(have).__name__} instead of an array"
    if want.shape != have.shape:
        return f"shape {_shape(have)} instead of {_shape(want)}"
    if want.dtype != have.dtype:
        return f"dtype {have.dtype.name} instead of {want.dtype.name}"
    return ""


def _shape(array: Array) -> str:
    return "[" + ", ".join(map(str, array.shape)) + "]"


def _differing(want: Array, have: Array, rtol: float, atol: float) -> Array:
    if not np.issubdtype(want.dtype, np.floating):
        return np.asarray(want != have)
    wide, got = want.astype(np.float64), have.astype(np.float64)
    with np.errstate(invalid="ignore"):
        # An infinite value has an infinite tolerance; it must be met exactly.
        close = np.isfinite(wide) & (np.abs(got - wide) <= atol + rtol * np.abs(wide))
    return ~(close | (wide == got) | (np.isnan(wide) & np.isnan(got)))


def _describe(want: Array, have: Array, bad: Array) -> str:
    first = np.unravel_index(int(np.argmax(bad)), bad.shape) if bad.ndim else ()
    index = "[" + ", ".join(str(int(part)) for part in first) + "]"
    text = f"{int(bad.sum())} of {want.size} elements differ; first at {index}: "
    return text + f"expected {_show(want[first])}, got {_show(have[first])}"


def _show(value: Any) -> str:
    return f"{float(value):.6g}" if isinstance(value, np.floating) else str(value)
