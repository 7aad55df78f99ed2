"""Replacing spans of a text."""

from __future__ import annotations

from collections.abc import Iterable


def replace_spans(code: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """The text with each byte span `(start, end, new)` replaced; spans must not overlap."""
    data, parts, at = code.encode("utf-8"), [], 0
    for start, end, new in sorted(spans):
        assert start >= at, "spans overlap"
        parts += [data[at:start], new.encode("utf-8")]
        at = end
    return b"".join([*parts, data[at:]]).decode("utf-8")
