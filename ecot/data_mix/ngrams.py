"""Hashes of runs of neighbouring items, over whole arrays at once."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np

_LEXICAL = re.compile(r"[^\W_]+|[^\w\s]|_")
_DIRECTIVES = "include|define|undef|if|ifdef|ifndef|else|elif|endif|pragma|error"
_COMMENTS = re.compile(rf"//[^\n]*|/\*.*?\*/|(?m:^|(?<=\s))#(?!\s*(?:{_DIRECTIVES})\b|\s*\d)[^\n]*", re.DOTALL)
"""Comments of C, C++, CUDA, Verilog, Python and assembly; directives of the preprocessor and delays (`#5`) are code."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def ngram_hashes(items: np.ndarray, width: int) -> np.ndarray:
    """[max(0, n - width + 1)] uint64: a hash of every `width` neighbouring items of [n] integers."""
    count = len(items) - width + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    mixed = mix(items.astype(np.uint64) + np.uint64(1))
    total = np.zeros(count, np.uint64)
    for offset in range(width):
        total = total * _MULTIPLIER + mixed[offset : offset + count]
    return mix(total)


def mix(values: np.ndarray) -> np.ndarray:
    """Spread the bits of uint64 values (the finaliser of splitmix64)."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def lexical_items(text: str) -> np.ndarray:
    """[n] uint32: a number for each word, number and sign of a text, in lower case and without white space.

    Formatting, line breaks and underscores between words make no difference, so reformatted code is still found.
    """
    return np.array([_number_of(word) for word in _LEXICAL.findall(text.lower()) if word != "_"], np.uint32)


def code_items(text: str) -> np.ndarray:
    """The same without comments, so that code is found under other remarks than it was published with."""
    return lexical_items(_COMMENTS.sub(" ", text))


@lru_cache(maxsize=1 << 18)
def _number_of(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))
