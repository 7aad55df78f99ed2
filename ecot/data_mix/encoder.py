"""Texts to token ids, and from characters to the tokens that hold them.

Byte-level tokenizers take a fast way: each token stands for a known number of bytes, so ids alone say where tokens lie
and `tokenizers` need not track offsets (a third of its time). A normaliser must leave the text as it is, and lengths
must add up to the text; where they do not, and for all other fast tokenizers, offsets are asked for. Slow tokenizers
are read by their pieces (`slow_tokenizers`).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from tokenizers import Tokenizer, processors

from ecot.data_mix.slow_tokenizers import PieceTable
from ecot.errors import DataError


class Place(NamedTuple):
    """Where a character lies."""

    token: int
    """The first token that holds it."""
    inside: bool
    """Whether that token also holds an earlier character."""


class TokenisedText(Protocol):
    """The tokens of one text."""

    @property
    def ids(self) -> np.ndarray:
        """[n] int32."""
        ...

    def locate(self, characters: Sequence[int]) -> list[Place] | None:
        """The place of each of some characters, ascending; None when a normaliser dropped one of them."""
        ...

    def offsets(self) -> np.ndarray:
        """[n, 2] begin and end of each token in characters."""
        ...


class TextEncoder:
    """Encodes exactly as the tokenizer does without adding special tokens, truncating or padding.

    Args:
        tokenizer: a Hugging Face tokenizer; a fast one is copied.

    Raises:
        DataError: a slow tokenizer whose tokens cannot be found in its texts.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._pieces: PieceTable | None = None
        if not tokenizer.is_fast:
            self._pieces = PieceTable(tokenizer)
            return
        source = tokenizer.backend_tokenizer.to_str()
        self.backend = Tokenizer.from_str(source)
        # Some post-processors trim white space off offsets; without special tokens none of them does anything else.
        self.backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
        self.backend.no_truncation()
        self.backend.no_padding()
        self._byte_lengths = byte_lengths(json.loads(source))

    def encode(self, texts: Sequence[str]) -> list[TokenisedText | DataError]:
        """The tokens of each text; an error in place of one that a slow tokenizer does not keep as it is."""
        if self._pieces is not None:
            return [self._encode_slowly(self._pieces, text) for text in texts]
        if self._byte_lengths is None:
            return [_WithOffsets(e) for e in self.backend.encode_batch(list(texts), add_special_tokens=False)]
        tokenised: list[TokenisedText | DataError] = []
        for text, encoding in zip(
            texts, self.backend.encode_batch_fast(list(texts), add_special_tokens=False), strict=True
        ):
            ids = np.array(encoding.ids, np.int32)
            ends = np.cumsum(self._byte_lengths[ids])
            adds_up = (int(ends[-1]) if len(ends) else 0) == len(text.encode())
            if adds_up and (text.isascii() or unicodedata.is_normalized("NFC", text)):
                tokenised.append(_WithBytes(ids, text, ends))
            else:
                tokenised.append(_WithOffsets(self.backend.encode(text, add_special_tokens=False)))
        return tokenised

    def ids(self, text: str) -> list[int]:
        """The ids of one text."""
        if self._pieces is not None:
            return self._pieces.ids(text)
        return self.backend.encode(text, add_special_tokens=False).ids

    @staticmethod
    def _encode_slowly(pieces: PieceTable, text: str) -> TokenisedText | DataError:
        ids = np.array(pieces.ids(text), np.int32)
        try:
            return _WithBytes(ids, text, pieces.ends(ids, text))
        except DataError as error:
            return error


@dataclass(frozen=True)
class _WithBytes:
    """Tokens of which each stands for known bytes; an empty one belongs to what follows it."""

    ids: np.ndarray
    text: str
    ends: np.ndarray
    """[n] int64 bytes up to the end of each token."""

    def locate(self, characters: Sequence[int]) -> list[Place] | None:
        """See `TokenisedText`."""
        positions = np.array(self._bytes_before(characters), np.int64)
        tokens = np.searchsorted(self.ends, positions, side="right")
        begins = np.where(tokens > 0, self.ends[tokens - 1], 0) if len(self.ends) else np.zeros_like(positions)
        inside = begins < positions
        first = np.searchsorted(self.ends, positions, side="left") + (positions > 0)  # the empty tokens before, if any
        tokens = np.where(inside, tokens, first)
        return [Place(*pair) for pair in zip(tokens.tolist(), inside.tolist(), strict=True)]

    def offsets(self) -> np.ndarray:
        """See `TokenisedText`."""
        counts = [len(character.encode()) for character in self.text]
        character_of = np.append(np.repeat(np.arange(len(self.text)), counts), len(self.text))
        begins = np.concatenate([[0], self.ends[:-1]])
        last = np.where(self.ends > begins, character_of[self.ends - 1] + 1, character_of[begins])
        return np.stack([character_of[begins], last], axis=1)

    def _bytes_before(self, characters: Sequence[int]) -> Sequence[int]:
        if self.text.isascii():
            return characters
        counts, total, begin = [], 0, 0
        for character in characters:
            total += len(self.text[begin:character].encode())
            counts.append(total)
            begin = character
        return counts


class _WithOffsets:
    """Tokens with the offsets that `tokenizers` tracks."""

    def __init__(self, encoding: Any) -> None:
        self.encoding = encoding
        self.ids = np.array(encoding.ids, np.int32)

    def locate(self, characters: Sequence[int]) -> list[Place] | None:
        """See `TokenisedText`."""
        places = []
        for character in characters:
            token = self.encoding.char_to_token(character)
            if token is None:
                return None
            places.append(Place(token, self.encoding.token_to_chars(token)[0] < character))
        return places

    def offsets(self) -> np.ndarray:
        """See `TokenisedText`."""
        return np.array(self.encoding.offsets, np.int64).reshape(-1, 2)


def byte_lengths(source: dict[str, Any]) -> np.ndarray | None:
    """[vocabulary] int64 bytes that each token stands for; None for tokenizers of which that cannot be said.

    Args:
        source: what `tokenizer.json` holds.
    """
    pre_tokenizer = source["pre_tokenizer"] or {}
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    byte_level = [step for step in steps if step.get("type") == "ByteLevel"]
    known = {"ByteLevel", "Split", "Digits", "Punctuation"}
    plain = (
        source["model"].get("type") == "BPE"
        and (source["normalizer"] is None or source["normalizer"] == {"type": "NFC"})
        and len(byte_level) == 1
        and not byte_level[0]["add_prefix_space"]
        and all(step.get("type") in known and step.get("behavior", "Isolated") == "Isolated" for step in steps)
        and not any(token["lstrip"] or token["rstrip"] for token in source["added_tokens"])
    )
    if not plain:
        return None
    vocabulary = source["model"]["vocab"]
    # A token of the vocabulary is written with one character per byte.
    lengths = {index: len(token) for token, index in vocabulary.items()}
    lengths |= {token["id"]: len(token["content"].encode()) for token in source["added_tokens"]}
    table = np.zeros(max(lengths, default=-1) + 1, np.int64)
    table[list(lengths)] = list(lengths.values())
    return table
