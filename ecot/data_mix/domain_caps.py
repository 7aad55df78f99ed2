"""At most so many tokens of a domain: which rows stay is decided by their content, not by where they stand."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

import numpy as np

from ecot.data_mix.groups import domain_index
from ecot.outcomes import Domain


class CappedRows:
    """The rows of domains with a cap that all filters let through: 25 bytes a row in memory.

    Args:
        caps: the most tokens of each domain.
    """

    def __init__(self, caps: Mapping[Domain, int]) -> None:
        self.caps = caps
        self._numbers, self._keys, self._tokens = array("q"), array("Q"), array("q")
        self._domains = array("b")

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, number: int, key: bytes, domain: Domain, tokens: int) -> None:
        """Note a row, in the order of reading; `key` is a hash of its normalised text."""
        self._numbers.append(number)
        self._keys.append(int.from_bytes(key[:8], "big"))
        self._domains.append(domain_index(domain))
        self._tokens.append(tokens)

    def fates(self) -> Iterator[tuple[int, bool]]:
        """The number of each row and whether it stays, in the order of reading.

        Rows of a domain are taken in the order of their keys, as good as random and the same in every run, until the
        next one does not fit; so a smaller cap keeps a subset of what a larger one keeps.
        """
        keys, domains = np.frombuffer(self._keys, np.uint64), np.frombuffer(self._domains, np.int8)
        tokens = np.frombuffer(self._tokens, np.int64)
        stays = np.zeros(len(self), bool)
        for domain, cap in self.caps.items():
            rows = np.nonzero(domains == domain_index(domain))[0]
            rows = rows[np.argsort(keys[rows], kind="stable")]
            stays[rows] = np.cumsum(tokens[rows]) <= cap
        return zip(self._numbers, map(bool, stays), strict=True)
