"""Test inputs: drawn by a task's plan from a seed, and written in the form that the harness reads."""

from __future__ import annotations

import ast
import math
import operator
import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecot.backends.code_optimization.settings import Buffer, Plan, Scalar
from ecot.errors import DataError

PAGE = 4096
MAX_BUFFERS = 6
_ROOM = 128
"""More than a slot's largest content needs, so that it can lie anywhere between."""
MAX_INTEGERS = 6
MAX_FLOATS = 4

FORMATS = {
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "s8": "b",
    "s16": "h",
    "s32": "i",
    "s64": "q",
    "f32": "f",
    "f64": "d",
}
"""Type names to the letters of `struct`."""

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv}
_WORDS = "the valve of line pump 7 was closed at 12:45, pressure 3.5 bar; ".split(" ")
_CHARACTERS = ((32, 126), (32, 126), (32, 126), (0x80, 0x7FF), (0x800, 0xD7FF), (0x10000, 0x10FFFF))
"""Ranges of code points: half of the characters are ASCII, the others take two, three and four bytes."""

Number = int | float


@dataclass(frozen=True)
class Block:
    """The memory behind one pointer argument."""

    spec: Buffer
    argument: int
    """Which integer register holds the pointer, from 0."""
    values: tuple[Number, ...]

    @property
    def data(self) -> bytes:
        """Little-endian, as the machine has it."""
        return struct.pack(f"<{len(self.values)}{FORMATS[self.spec.type]}", *self.values)


@dataclass(frozen=True)
class Case:
    """The arguments of one call."""

    scalars: Mapping[str, Number]
    integers: tuple[int, ...]
    """Integer registers; 0 where a pointer will stand."""
    floats: tuple[bytes, ...]
    """Floating point registers, 8 bytes each."""
    blocks: tuple[Block, ...]


def draw_cases(plan: Plan, seed: int, place: str) -> list[Case]:
    """The calls of one execution: corner cases first, then random ones.

    Args:
        plan: how to draw them.
        seed: decides all of them.
        place: the task, for messages.

    Raises:
        DataError: the plan asks for what the harness cannot do.
    """
    source = random.Random(seed)
    return [_draw_case(plan, index, source, place) for index in range(plan.tests)]


def encode(cases: Sequence[Case], nonce: bytes) -> bytes:
    """The file that the harness reads; `nonce` has 16 bytes."""
    blocks = len(cases[0].blocks)
    sizes = [max(len(case.blocks[b].data) for case in cases) for b in range(blocks)]
    slots = [-(-(size + _ROOM) // PAGE) * PAGE for size in sizes]
    parts = [struct.pack("<Q", blocks), *(struct.pack("<Q", slot) for slot in slots)]
    for index, case in enumerate(cases):
        parts.append(struct.pack("<6Q", *(value % (1 << 64) for value in case.integers)))
        parts.append(b"".join(case.floats))
        for block, slot in zip(case.blocks, slots, strict=True):
            data = block.data
            parts.append(struct.pack("<3Q", block.argument, len(data), _offset(block, len(data), slot, index)))
            parts.append(data + bytes(-len(data) % 8))
    body = b"".join(parts)
    return nonce + struct.pack("<2Q", len(cases), len(body)) + body


def element_size(type_name: str) -> int:
    """Bytes of a number."""
    return struct.calcsize(FORMATS[type_name])


def _offset(block: Block, size: int, slot: int, index: int) -> int:
    """In turn: against the guard page behind, against the one in front, and at an address that is hardly aligned."""
    unit = element_size(block.spec.type)
    align = block.spec.align or unit
    offset = (slot - size, 0, unit * (2 * index % 7 + 1))[index % 3]
    return offset // align * align


def _draw_case(plan: Plan, index: int, source: random.Random, place: str) -> Case:
    scalars: dict[str, Number] = {}
    for argument in plan.arguments:
        if argument.scalar is not None:
            scalars[argument.scalar.name] = _draw_scalar(argument.scalar, index, source)
    integers: list[int] = []
    floats: list[bytes] = []
    blocks: list[Block] = []
    for argument in plan.arguments:
        if argument.scalar is not None:
            value = scalars[argument.scalar.name]
            if argument.scalar.type in ("f32", "f64"):
                floats.append(struct.pack(f"<{FORMATS[argument.scalar.type]}", value).ljust(8, b"\0"))
            else:
                integers.append(int(value))
        elif argument.buffer is not None:
            count = _evaluate(argument.buffer.count, scalars, f"{place}: buffer {argument.buffer.name!r}")
            blocks.append(Block(argument.buffer, len(integers), _draw_block(argument.buffer, count, blocks, source)))
            integers.append(0)
    if len(integers) > MAX_INTEGERS or len(floats) > MAX_FLOATS or len(blocks) > MAX_BUFFERS:
        limits = f"{MAX_INTEGERS} integers and pointers, {MAX_FLOATS} floats, {MAX_BUFFERS} buffers"
        raise DataError(f"{place}: too many arguments; the harness hands over at most {limits}")
    integers += [0] * (MAX_INTEGERS - len(integers))
    floats += [bytes(8)] * (MAX_FLOATS - len(floats))
    return Case(scalars, tuple(integers), tuple(floats), tuple(blocks))


def _bounds(type_name: str) -> tuple[int, int]:
    bits = 8 * element_size(type_name)
    return (0, (1 << bits) - 1) if type_name[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)


def _draw_scalar(spec: Scalar, index: int, source: random.Random) -> Number:
    if index < len(spec.values):
        return spec.values[index]
    if spec.type in ("f32", "f64"):
        return _narrow(source.uniform(spec.low, 1.0 if spec.high is None else spec.high), spec.type)
    low, high = int(spec.low), _bounds(spec.type)[1] if spec.high is None else int(spec.high)
    if spec.log:
        return min(high, low + source.getrandbits(source.randint(1, max(1, (high - low).bit_length()))))
    return source.randint(low, high)


def _narrow(value: float, type_name: str) -> float:
    """The nearest value of the type."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0]) if type_name == "f32" else value


def _draw_block(spec: Buffer, count: int, earlier: Sequence[Block], source: random.Random) -> tuple[Number, ...]:
    if spec.like:
        original = next(block for block in earlier if block.spec.name == spec.like)
        values = list(original.values[:count])
        for _ in range(source.randint(0, 2) if values else 0):
            values[source.randrange(len(values))] = _draw_element(spec, source)
        return tuple(values)
    if spec.role == "out" or spec.pattern == "random":
        values = [_draw_element(spec, source) for _ in range(count)]
    elif spec.pattern in ("text", "utf8", "broken_utf8"):
        values = list(_draw_text(spec.pattern, count, source))
    elif spec.pattern == "same":
        values = [_draw_element(spec, source)] * count
    else:
        values = sorted(_draw_element(spec, source) for _ in range(count))
        if spec.pattern == "nearly_sorted" and values and source.random() < 0.5:
            values[source.randrange(count)] = _draw_element(spec, source)
        if spec.pattern == "runs":
            values = _runs(spec, count, source)
    if spec.terminated and values:
        values = [value or 1 for value in values[:-1]] + [0]
    return tuple(values)


def _draw_element(spec: Buffer, source: random.Random) -> Number:
    if spec.values and source.random() < spec.share:
        return source.choice(spec.values)
    if spec.alphabet:
        return ord(source.choice(spec.alphabet))
    if spec.type in ("f32", "f64"):
        low = -1.0 if spec.low is None else float(spec.low)
        return _narrow(source.uniform(low, 1.0 if spec.high is None else float(spec.high)), spec.type)
    low, high = _bounds(spec.type)
    return source.randint(low if spec.low is None else int(spec.low), high if spec.high is None else int(spec.high))


def _runs(spec: Buffer, count: int, source: random.Random) -> list[Number]:
    values: list[Number] = []
    while len(values) < count:
        values += [_draw_element(spec, source)] * source.choice((1, 1, 2, 3, 5, 9, 40))
    return values[:count]


def _draw_text(pattern: str, count: int, source: random.Random) -> bytes:
    """Bytes of prose, or of characters of one to four bytes, perhaps with one byte spoiled."""
    if pattern == "text":
        words = " ".join(source.choice(_WORDS) for _ in range(count // 2 + 1))
        return words.encode().ljust(count, b".")[:count]
    text = b""
    while len(text) < count:
        low, high = source.choice(
            ((32, 126), (32, 126), (32, 126), (0x80, 0x7FF), (0x800, 0xD7FF), (0x10000, 0x10FFFF))
        )
        text += chr(source.randint(low, high)).encode() * source.choice((1, 1, 6))
    # Cut between characters.
    text = text[:count].decode("utf-8", "ignore").encode().ljust(count, b"~")
    if pattern == "broken_utf8" and count and source.random() < 0.5:
        place = source.randrange(count)
        spoiled = source.choice((0x80, 0xBF, 0xC0, 0xC1, 0xE0, 0xED, 0xF0, 0xF4, 0xF5, 0xFF))
        text = text[:place] + bytes([spoiled]) + text[place + 1 :]
    return text


def _evaluate(expression: int | str, names: Mapping[str, Number], place: str) -> int:
    """A count: a number, or arithmetic on the scalar arguments."""

    def value(node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name) and node.id in names:
            return int(names[node.id])
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return int(_OPERATORS[type(node.op)](value(node.left), value(node.right)))
        raise DataError(f"{place}: count {expression!r} may hold numbers, {', '.join(names)} and + - * //")

    if isinstance(expression, int):
        return expression
    try:
        result = value(ast.parse(expression, mode="eval").body)
    except SyntaxError as error:
        raise DataError(f"{place}: count {expression!r} is no expression") from error
    if result < 0:
        raise DataError(f"{place}: count {expression!r} is {result} for {dict(names)}")
    return result


def is_close(got: Number, want: Number, relative: float, absolute: float) -> bool:
    """Whether a result is near enough to the expected one; without tolerances, whether it is the same number."""
    if got == want or (math.isnan(got) and math.isnan(want)):
        return True
    return math.isfinite(want) and abs(got - want) <= absolute + relative * abs(want)
