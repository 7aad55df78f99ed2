"""What is told about a candidate: the tools' messages, normalised, and the first difference."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from ecot.backends.code_optimization.inputs import FORMATS, Block, Case, Number, element_size

MAX_LINES = 40
"""A broken line can make the compiler complain hundreds of times; the first messages are the ones that matter."""

_SHOWN_ELEMENTS = 8
_LEVEL = re.compile(r"`generic64[.\w]*'")
_ADDRESS = re.compile(r"\b(?:candidate\.o|\(\.text\S*\)):?|\(\.\S+\+0x[0-9a-f]+\):? ?")
_UNSUPPORTED = re.compile(
    r"is not supported on|target specific option mismatch|needs isa option|sorry, unimplemented|bad register name "
    r"`%[zk]|internal compiler error|unsupported (?:instruction|masking|broadcast)|not supported (?:by|for) this target"
)
_ELABORATION = re.compile(
    r"undeclared|incompatible|too (?:few|many) arguments|conflicting types|redefinition|has no member|"
    r"invalid operands|undefined type|incomplete type|cannot convert|invalid conversion|not a function|"
    r"invalid use of|subscripted value|where scalar is required|lvalue required|is not assignable|read-only|"
    r"operand (?:type|size) mismatch|number of operands mismatch|already defined|unknown type name|"
    r"static assertion failed|storage size"
)


def normalise(raw: bytes) -> str:
    """Tool messages without names that belong to the harness, at most `MAX_LINES` lines."""
    text = _LEVEL.sub("`x86-64-v3'", raw.decode("utf-8", "replace").replace("/tmp/", ""))
    text = _ADDRESS.sub("", re.sub(r"\bcc\w{6}\.s\b", "assembler", text))
    text = re.sub(r"/usr/(?:bin/|lib/\S*/)(as|ld|gcc|cc1)\b", r"\1", text)
    lines = [line.rstrip().replace("ld:  in function", "ld: in function") for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("compilation terminated", "gcc: note"))]
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"... {len(lines) - MAX_LINES} more lines"]
    return "\n".join(lines) + "\n" if lines else ""


def classify_compilation(messages: str) -> str:
    """The subcode of a COMPILATION_ERROR, from normalised messages: `unsupported`, `elaboration` or `syntax`."""
    errors = [line for line in messages.splitlines() if "rror:" in line]
    if any(_UNSUPPORTED.search(line) for line in errors):
        return "unsupported"
    if errors and _ELABORATION.search(errors[0]):
        return "elaboration"
    return "syntax"


def describe_case(case: Case) -> str:
    """The arguments of a call, long arrays cut."""
    parts = [f"{name}={show(value)}" for name, value in case.scalars.items()]
    for block in case.blocks:
        if block.spec.role != "out" and block.values:
            shown = " ".join(show(value) for value in block.values[:_SHOWN_ELEMENTS])
            more = " ..." if len(block.values) > _SHOWN_ELEMENTS else ""
            parts.append(f"{block.spec.name}[{len(block.values)}]={shown}{more}")
    return ", ".join(parts)


def show(value: Number) -> str:
    """A number: integers plain, floating point with all its digits."""
    return repr(value) if isinstance(value, float) else str(value)


def elements(block: Block, content: bytes) -> Sequence[Number]:
    """The numbers in a buffer's memory."""
    return struct.unpack(f"<{len(content) // element_size(block.spec.type)}{FORMATS[block.spec.type]}", content)
