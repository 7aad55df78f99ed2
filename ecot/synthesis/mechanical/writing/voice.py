"""Small choices of wording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random


def listed(names: Iterable[str], limit: int = 5, word: str = "and") -> str:
    """`a`, `b` and `c`, each as code; beyond `limit` the number of the others."""
    ticked = [f"`{name}`" for name in names]
    if len(ticked) > limit:
        ticked = [*ticked[: limit - 1], f"{len(ticked) - limit + 1} more"]
    if len(ticked) < 2:
        return "".join(ticked)
    return f"{', '.join(ticked[:-1])} {word} {ticked[-1]}"


def say(rng: Random, options: Sequence[str], **fields: object) -> str:
    """One of the wordings, filled in."""
    return rng.choice(options).format(**fields)


def brief(text: str, limit: int = 90) -> str:
    """A piece of code on one line, cut if long."""
    joined = " ".join(text.split())
    return joined if len(joined) <= limit else joined[: limit - 4].rstrip() + " ..."


def quote(sentence: str) -> str:
    """A sentence of the specification in quotation marks, without its full stop."""
    return f'"{sentence.rstrip(".;: ")}"'
