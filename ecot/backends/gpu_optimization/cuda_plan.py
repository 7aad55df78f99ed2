"""What the emulation is to run: launches with their sizes, and all arguments, as one file for `runtime.cpp`."""

from __future__ import annotations

import ast
import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ecot.backends.gpu_optimization.inside.exchange import Case
from ecot.backends.gpu_optimization.settings import GpuSettings, LaunchSettings
from ecot.errors import DataError

_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}

_C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned",
    "bool": "bool",
}

MAX_BLOCK_THREADS = 1024


def evaluate(expression: str, case: Case) -> int:
    """An integer expression of the scalar arguments: names, numbers, `+ - * // %`, parentheses, `min` and `max`.

    Raises:
        DataError: it is anything else.
    """
    try:
        return _evaluate(ast.parse(expression.strip(), mode="eval").body, case)
    except (SyntaxError, ZeroDivisionError) as error:
        raise DataError(f"launch expression {expression!r}: {error}") from error


def _evaluate(node: ast.expr, case: Case) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name) and isinstance(case.get(node.id), int):
        return int(case[node.id])
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluate(node.left, case), _evaluate(node.right, case))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
        return (min if node.func.id == "min" else max)(_evaluate(argument, case) for argument in node.args)
    raise DataError(f"launch expression: {ast.unparse(node)!r} is no number, integer argument, or sum, product of such")


def dimensions(text: str, case: Case) -> tuple[int, int, int]:
    """Up to three expressions, filled up with ones."""
    parts = ast.parse(f"({text},)", mode="eval").body
    assert isinstance(parts, ast.Tuple)
    sizes = [_evaluate(part, case) for part in parts.elts]
    if not 1 <= len(sizes) <= 3 or min(sizes) < 0:
        raise DataError(f"launch sizes {text!r} give {sizes}; one to three positive numbers are wanted")
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z


def argument_names(launch: LaunchSettings, case: Case) -> Sequence[str]:
    """What a launch passes, in order."""
    return launch.arguments or tuple(case)


def parameter_types(launch: LaunchSettings, case: Case) -> list[str]:
    """The C types of a kernel's parameters, without `const`."""
    return [_c_type(case[name]) for name in argument_names(launch, case)]


def _c_type(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return _C_TYPES[value.dtype.name] + " *"
    return "float" if isinstance(value, float) else "int"


def pack_plan(cases: Sequence[Case], settings: GpuSettings) -> bytes:
    """The file that `runtime.cpp` reads.

    Raises:
        DataError: a launch does not fit the arguments.
    """
    kernels = kernel_names(settings)
    parts = [struct.pack("<I", len(cases))]
    for case in cases:
        parts.append(struct.pack("<I", len(case)))
        for name, value in case.items():
            kind, content = _argument(value, name in settings.outputs)
            encoded = name.encode()
            parts += [struct.pack("<II", kind, len(encoded)), encoded, struct.pack("<Q", len(content)), content]
        parts.append(struct.pack("<I", len(settings.launches)))
        order = list(case)
        for launch in settings.launches:
            block = dimensions(launch.block, case)
            if not 1 <= block[0] * block[1] * block[2] <= MAX_BLOCK_THREADS:
                raise DataError(f"kernel {launch.kernel}: {block} threads per block; at most {MAX_BLOCK_THREADS}")
            shape = (*dimensions(launch.grid, case), *block, evaluate(launch.shared_bytes, case))
            chosen = [order.index(name) for name in argument_names(launch, case)]
            parts.append(struct.pack("<8I", kernels.index(launch.kernel), *shape))
            parts.append(struct.pack(f"<I{len(chosen)}I", len(chosen), *chosen))
    return b"".join(parts)


def kernel_names(settings: GpuSettings) -> list[str]:
    """Every kernel once, in the order of the launches."""
    return list(dict.fromkeys(launch.kernel for launch in settings.launches))


def glue(settings: GpuSettings, case: Case, emulated: str) -> str:
    """The translation unit for the CPU: the candidate, its kernels' signatures checked, and a table of them."""
    lines = ['#include "ecot_cuda.h"', '#line 1 "candidate.cu"', emulated, '#line 1 "launch.cu"']
    launches = {launch.kernel: launch for launch in settings.launches}
    for index, (name, launch) in enumerate(launches.items()):
        types = ", ".join(parameter_types(launch, case))
        lines.append(f'static_assert(::ecot::same_signature<{types}>({name}), "{SIGNATURE_MARK} {name}({types})");')
        lines.append(f"static void ecot_call_{index}(void **a) {{ ::ecot::invoke({name}, a); }}")
    table = ", ".join(f"ecot_call_{index}" for index in range(len(launches)))
    lines += ["extern const ::ecot::Kernel ecot_kernels[];", f"const ::ecot::Kernel ecot_kernels[] = {{{table}}};"]
    return "\n".join(lines) + "\n"


SIGNATURE_MARK = "the kernel must be"
"""Begins the message about a wrong signature."""


def split_outputs(block: bytes, cases: Sequence[Case], settings: GpuSettings) -> list[Case] | None:
    """The outputs of all cases, each in both orders of threads; None if the block is not as long as they are."""
    found: list[Case] = []
    offset = 0
    for case in cases:
        for _ in range(2):
            outputs: Case = {}
            for name, value in case.items():
                if name in settings.outputs:
                    flat = np.frombuffer(block[offset : offset + value.nbytes], dtype=value.dtype)
                    if flat.size != value.size:
                        return None
                    outputs[name] = flat.reshape(value.shape)
                    offset += value.nbytes
            found.append({name: outputs[name] for name in settings.outputs})
    return found if offset == len(block) else None


def _argument(value: Any, output: bool) -> tuple[int, bytes]:
    if isinstance(value, np.ndarray):
        return int(output), np.ascontiguousarray(value).tobytes()
    return 2, struct.pack("<f", value) if isinstance(value, float) else struct.pack("<i", value)
