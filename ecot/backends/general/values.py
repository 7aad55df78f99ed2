"""Python values as JSON, exactly: what crosses the border between the processes of candidate, reference and host.

This file also runs inside the sandbox, loaded before any candidate: standard library only. Exact types
count, never subclasses, so no object with an `__eq__` or `__repr__` of its own gets across.
"""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 100


class UnencodableError(Exception):
    """A value that is no plain data."""


def encode(value: Any, depth: int = 0) -> Any:
    """A value as JSON data.

    Raises:
        UnencodableError: it is not made of plain types, or nested too deeply.
    """
    kind = type(value)
    if depth > MAX_DEPTH:
        raise UnencodableError("nested too deeply")
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return {"int": hex(value)}
    if kind is float:
        return {"float": value.hex()}
    if kind is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if kind in (bytes, bytearray):
        return {kind.__name__: value.hex()}
    if kind is list:
        return [encode(item, depth + 1) for item in value]
    if kind is tuple:
        return {"tuple": [encode(item, depth + 1) for item in value]}
    if kind in (set, frozenset):
        # In an order of their own, so that equal sets give equal text.
        return {kind.__name__: sorted((encode(item, depth + 1) for item in value), key=repr)}
    if kind is dict:
        return {"dict": [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]}
    raise UnencodableError(f"an object of type {kind.__name__}")


def decode(data: Any) -> Any:
    """The inverse of `encode`.

    Raises:
        ValueError: it is not what `encode` gives.
    """
    if data is None or isinstance(data, bool | str):
        return data
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict) or len(data) != 1:
        raise ValueError("no encoded value")
    ((kind, content),) = data.items()
    if kind == "int":
        return int(content, 16)
    if kind == "float":
        return float.fromhex(content)
    if kind == "complex":
        return complex(float.fromhex(content[0]), float.fromhex(content[1]))
    if kind in ("bytes", "bytearray"):
        return bytes.fromhex(content) if kind == "bytes" else bytearray.fromhex(content)
    if kind == "tuple":
        return tuple(decode(item) for item in content)
    if kind in ("set", "frozenset"):
        items = [decode(item) for item in content]
        return set(items) if kind == "set" else frozenset(items)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in content}
    raise ValueError(f"unknown kind {kind!r}")
