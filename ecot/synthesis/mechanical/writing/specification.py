"""Sentences of a specification, and which of them speak of given names and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SPLIT = re.compile(r"(?<=[.;:])\s+(?=[A-Z`(])|\n\s*(?:[-*]\s+|\n|\d+[.)]\s+)|\n\n+")
_LISTING = re.compile(
    r"\b(inputs?|outputs?|parameters?)\b.*\(|^(Write|Design|Implement)\b|\bbits? each\b|\(`?\w+`? bits?\)"
)
"""A sentence that lists the interface says nothing about behaviour."""
_WEAK = frozenset({"the", "a", "is", "of", "and", "to", "in"})


def sentences(spec: str) -> list[str]:
    """The sentences and list items of a specification, on one line each, without list marks and headings."""
    found = []
    for piece in _SPLIT.split(_without_code(spec)):
        text = " ".join(piece.split()).lstrip("-*# ").strip()
        if len(text) > 12 and not text.endswith(":") and "|" not in text:
            found.append(text)
    return found


def relevant(spec: str, names: Iterable[str], numbers: Iterable[str] = (), limit: int = 170) -> str:
    """The sentence that mentions most of these names and numbers, the first of equals; empty if none mentions any."""
    wanted = [rf"(?<!\w){re.escape(name)}(?!\w)" for name in {*names} - _WEAK]
    exact = [rf"(?<![\w']){re.escape(number)}(?!\w)" for number in set(numbers)]
    best, top = "", 0.0
    for sentence in sentences(spec):
        if len(sentence) > limit or _LISTING.search(sentence):
            continue
        hits = sum(bool(re.search(p, sentence)) for p in wanted)
        hits += 2 * sum(bool(re.search(p, sentence)) for p in exact)
        # A sentence about few things says more about each of them.
        score = hits / (1 + 0.2 * sentence.count("`"))
        if score > top:
            best, top = sentence, score
    return best


def requirements(spec: str, limit: int = 170) -> list[str]:
    """Sentences that say when and how, the ones to keep in mind while writing."""
    strong = re.compile(r"\b(when|if|while|until|after|before|only|must|never|always|reset|cycle|edge|otherwise)\b")
    return [s for s in sentences(spec) if strong.search(s) and len(s) <= limit and not _LISTING.search(s)]


def _without_code(spec: str) -> str:
    return re.sub(r"```.*?```", "\n\n", spec, flags=re.DOTALL)
