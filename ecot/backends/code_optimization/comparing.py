"""Compare what a candidate left with what the baseline left, value by value."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ecot.backends.code_optimization.diagnostics import describe_case, elements, show
from ecot.backends.code_optimization.inputs import FORMATS, Block, Case, Number, element_size, is_close
from ecot.backends.code_optimization.records import CallResult
from ecot.backends.code_optimization.settings import Plan


@dataclass(frozen=True)
class Difference:
    """The first thing that is wrong in a call."""

    test: int
    text: str
    is_number: bool
    """It is floating point, out of tolerance."""


def first_differences(
    plan: Plan, cases: Sequence[Case], got: Sequence[CallResult], want: Sequence[CallResult]
) -> list[Difference]:
    """Of every call that differs, the first difference."""
    found = []
    for test, (case, candidate, baseline) in enumerate(zip(cases, got, want, strict=True)):
        difference = _compare(plan, test, case, candidate, baseline)
        if difference is not None:
            found.append(difference)
    return found


def returned(plan: Plan, result: CallResult) -> Number | None:
    """The function's value; None for `void`."""
    if plan.returns == "void":
        return None
    size = element_size(plan.returns)
    raw = result.floating if plan.returns in ("f32", "f64") else struct.pack("<Q", result.integer)
    value: Number = struct.unpack(f"<{FORMATS[plan.returns]}", raw[:size])[0]
    return value


def _compare(plan: Plan, test: int, case: Case, got: CallResult, want: CallResult) -> Difference | None:
    found, expected = returned(plan, got), returned(plan, want)
    is_float = plan.returns in ("f32", "f64")
    if found is not None and expected is not None and not _same(plan, found, expected, is_float):
        text = f"return value: expected {show(expected)}, got {show(found)} ({describe_case(case)})"
        return Difference(test, text, is_float)
    for index, block in enumerate(case.blocks):
        difference = _compare_block(plan, case, block, got.contents[index], want.contents[index], expected)
        if difference is not None:
            text, is_number = difference
            return Difference(test, text, is_number)
    return None


def _compare_block(
    plan: Plan, case: Case, block: Block, got: bytes, want: bytes, result: Number | None
) -> tuple[str, bool] | None:
    if got == want:
        return None
    name, is_float = block.spec.name, block.spec.type in ("f32", "f64")
    if block.spec.role == "in":
        return f"'{name}' is an input and was changed ({describe_case(case)})", False
    found, expected = elements(block, got), elements(block, want)
    length = len(expected)
    if block.spec.written == "returned" and result is not None:
        length = min(length, max(0, int(result)))
    for index in range(length):
        if not _same(plan, found[index], expected[index], is_float):
            values = f"expected {show(expected[index])}, got {show(found[index])}"
            return f"'{name}', element {index} of {len(expected)}: {values} ({describe_case(case)})", is_float
    return None


def _same(plan: Plan, got: Number, want: Number, is_float: bool) -> bool:
    return is_close(got, want, plan.relative, plan.absolute) if is_float else got == want
