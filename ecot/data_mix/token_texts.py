"""The text of single tokens in their document, so that all of them together are the document's text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ecot.data_mix.slow_tokenizers import PieceTable

TextOf = Callable[[Sequence[int], int, int], str]
"""(ids of a document, begin, end) to the text of the tokens from begin to end."""
_WINDOW = 4


def text_decoder(tokenizer: Any) -> TextOf:
    """How to read some tokens of a document.

    Decoders of SentencePiece vocabularies drop the space before a first word, so tokens are read together with those
    before them; byte-level tokens need no such care.
    """
    if not tokenizer.is_fast:
        table = PieceTable(tokenizer)
        return table.text_of
    decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"] or {}
    if decoder.get("type") == "ByteLevel":
        return lambda ids, begin, end: tokenizer.decode(ids[begin:end])
    return lambda ids, begin, end: _in_context(tokenizer, ids, begin, end)


def whole_decoder(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    """How to read all tokens of a document at once, special ones included."""
    if not tokenizer.is_fast:
        return PieceTable(tokenizer).decode
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _in_context(tokenizer: Any, ids: Sequence[int], begin: int, end: int) -> str:
    start = max(0, begin - _WINDOW)
    before = tokenizer.decode(ids[start:begin])
    both = tokenizer.decode(ids[start:end])
    return both[len(before) :] if both.startswith(before) else tokenizer.decode(ids[begin:end])
