"""Recognise a candidate that is the baseline's source in other words, or the compiler's own output for it."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r'(?P<skip>\s+|//[^\n]*|/\*.*?\*/|\#[ \t]*(?:include|pragma)[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*"|'
    r"'(?:\\.|[^'\\\n])*')|(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)|(?P<word>[A-Za-z_]\w*)|(?P<other>.)",
    re.DOTALL,
)
_KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool size_t "
    "int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t uintptr_t NULL".split()
)
_EMPTY = frozenset({"register", "inline", "const", "restrict", "extern", "static", "volatile"})
"""Words that may come and go without a change of what the code does here."""


def normalised_source(code: str) -> tuple[str, ...]:
    """The tokens of C source without comments and includes, identifiers numbered in order of appearance."""
    numbers: dict[str, str] = {}
    tokens = []
    for match in _TOKEN.finditer(code):
        text = match[0]
        if match.lastgroup == "skip" or text in _EMPTY:
            continue
        if match.lastgroup == "word" and text not in _KEYWORDS:
            text = numbers.setdefault(text, f"name{len(numbers)}")
        elif match.lastgroup == "number":
            text = text.rstrip("uUlL") if not text.lower().startswith("0x") else text.lower().rstrip("ul")
        tokens.append(text)
    return tuple(tokens)
