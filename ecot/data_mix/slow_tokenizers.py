"""Tokenizers without a fast form, for which nobody tracks where in the text a token lies: SentencePiece models.

The ids are those that the tokenizer gives for the whole text. Each of its pieces stands for known bytes, so the places
follow from the ids alone; and they are proved for every text: the bytes of its tokens, put together, must be the text.
Where they are not (a normaliser that rewrites, squeezed white space, an unknown character) the text is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecot.errors import DataError

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""What SentencePiece writes for a space."""
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class PieceTable:
    """The bytes that each token of a slow tokenizer stands for.

    Args:
        tokenizer: a slow Hugging Face tokenizer over a SentencePiece model.

    Raises:
        DataError: its pieces do not spell the texts that it encodes, so no token could be told apart.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self.bytes = [
            added[index].content.encode() if index in added else _bytes_of(name) for index, name in enumerate(names)
        ]
        self.lengths = np.array([len(piece) for piece in self.bytes], np.int64)
        self.added = np.zeros(len(names), bool)
        self.added[[index for index in added if index < len(names)]] = True
        self.prefix = self._prefix()

    def ids(self, text: str) -> list[int]:
        """The tokenizer's ids of a whole text, nothing added."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def ends(self, ids: np.ndarray, text: str) -> np.ndarray:
        """[n] int64 bytes of the text up to the end of each token.

        A model that puts a space before everything (a dummy prefix) does so after each added token as well; a token
        that stands for nothing else than that space is empty.

        Raises:
            DataError: the tokens do not spell the text.
        """
        lengths = self.lengths[ids]
        pieces = [self.bytes[index] for index in ids.tolist()]
        if self.prefix:
            after_added = np.concatenate([[True], self.added[ids[:-1]]]) if len(ids) else np.empty(0, bool)
            for place in np.nonzero(after_added & ~self.added[ids])[0].tolist():
                lengths[place] -= len(self.prefix)
                pieces[place] = pieces[place].removeprefix(self.prefix)
        spelled = b"".join(pieces)
        if spelled != text.encode():
            raise DataError(_difference(spelled.decode("utf-8", "replace"), text))
        return np.cumsum(lengths)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens, added ones included; broken characters become U+FFFD.

        Unlike `tokenizer.decode`, which for some slow tokenizers strips white space and leaves bytes as `<0x0A>`.
        """
        return self.text_of(ids, 0, len(ids))

    def text_of(self, ids: Sequence[int], begin: int, end: int) -> str:
        """The text of the tokens from `begin` to `end` of a document."""
        pieces = [self.bytes[index] for index in ids[begin:end]]
        if self.prefix:
            for place in range(begin, end):
                if not self.added[ids[place]] and (place == 0 or self.added[ids[place - 1]]):
                    pieces[place - begin] = pieces[place - begin].removeprefix(self.prefix)
        return b"".join(pieces).decode("utf-8", "replace")

    def _prefix(self) -> bytes:
        """What the tokenizer puts before every text: nothing or one space."""
        sample = "a b\n"
        spelled = b"".join(self.bytes[index] for index in self.ids(sample))
        prefix = spelled.removesuffix(sample.encode())
        if spelled[len(prefix) :] != sample.encode() or prefix not in (b"", b" "):
            raise DataError(
                f"a slow tokenizer ({type(self.tokenizer).__name__}) whose tokens do not spell its texts: {sample!r} "
                f"comes out as {spelled.decode('utf-8', 'replace')!r}; convert it to tokenizer.json"
            )
        return prefix


def vocabulary_file(tokenizer: Any) -> Path:
    """The SentencePiece model of a slow tokenizer that was loaded from a folder."""
    return Path(tokenizer.name_or_path) / tokenizer.vocab_files_names["vocab_file"]


def _bytes_of(piece: str) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes.fromhex(byte[1]) if byte else piece.replace(SPACE, " ").encode()


def _difference(spelled: str, text: str) -> str:
    pairs = zip(spelled, text, strict=False)
    place = next((i for i, (left, right) in enumerate(pairs) if left != right), min(len(spelled), len(text)))
    return (
        f"the tokenizer does not keep this text: {text[place : place + 20]!r} becomes {spelled[place : place + 20]!r} "
        f"at character {place} of its rendering, so its tokens cannot be told apart; mend the text, or use a fast "
        "tokenizer"
    )
