"""Arrays and numbers in and out of the sandbox: a JSON header, then raw bytes.

The reading side may face a file that a candidate wrote, so nothing here can execute or allocate more than the file's
own size, unlike pickles and compressed archives.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool")
"""What may cross."""

Value = Any
"""A numpy array of one of `DTYPES`, an int, a float, a bool, a string, None, or a list of such."""

Case = dict[str, Value]
"""One call: argument or output name to value, in order."""


def pack(cases: Sequence[Mapping[str, Value]]) -> bytes:
    """All cases as one block of bytes.

    Raises:
        ValueError: a value cannot cross; the message names the case and the value.
    """
    header: list[list[dict[str, Any]]] = []
    blobs: list[bytes] = []
    for index, case in enumerate(cases):
        entries = []
        for name, value in case.items():
            entry: dict[str, Any] = {"name": name}
            if isinstance(value, np.ndarray):
                if value.dtype.name not in DTYPES:
                    raise ValueError(f"case {index}, {name}: dtype {value.dtype} cannot cross; allowed: {DTYPES}")
                entry |= {"dtype": value.dtype.name, "shape": list(value.shape)}
                blobs.append(np.ascontiguousarray(value).tobytes())
            elif _is_plain(value):
                entry["value"] = value
            else:
                raise ValueError(f"case {index}, {name}: {type(value).__name__} cannot cross")
            entries.append(entry)
        header.append(entries)
    return json.dumps(header).encode() + b"\n" + b"".join(blobs)


def _is_plain(value: Value) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def unpack(block: bytes) -> list[Case]:
    """The cases of `pack`, checked: every array's size must fit the block, and nothing may be left over.

    Raises:
        ValueError: the block is not what `pack` writes.
    """
    line, separator, rest = block.partition(b"\n")
    if not separator:
        raise ValueError("no header")
    cases: list[Case] = []
    offset = 0
    header = json.loads(line)
    if not isinstance(header, list):
        raise ValueError("the header is no list")
    for entries in header:
        case: Case = {}
        for entry in entries:
            if "dtype" not in entry:
                case[str(entry["name"])] = entry["value"]
                continue
            shape, dtype = entry["shape"], entry["dtype"]
            if dtype not in DTYPES or not all(isinstance(size, int) and size >= 0 for size in shape):
                raise ValueError(f"malformed entry {entry!r}")
            size = math.prod(shape) * np.dtype(dtype).itemsize
            if offset + size > len(rest):
                raise ValueError(f"{entry['name']}: data end early")
            flat = np.frombuffer(rest[offset : offset + size], dtype=dtype)
            case[str(entry["name"])] = flat.reshape(shape).copy()
            offset += size
        cases.append(case)
    if offset != len(rest):
        raise ValueError("data left over")
    return cases
