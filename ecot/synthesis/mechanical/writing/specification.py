"""Sentences of a specification, and which of them speak of given names and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SPLIT = re.compile(r"(?<=[.;])\s+(?=[A-Z`(])|\n\s*(?:[-*]\s+|\n|\d+[.)]\s+)|\n\n+")
_LISTING = re.compile(
    r"\b(inputs?|outputs?|parameters?)\b.*\(|^(Write|Design|Implement)\b|\bbits? each\b|\(`?\w+`? bits?\)"
)
"""A sentence that lists the interface says nothing about behaviour."""
_VERBS = (
    "is|are|becomes?|shows?|takes?|gives?|follows?|goes|equals?|stays?|counts?|holds?|must|has|keeps?|increases?|"
    "decreases?|rises|falls|pulses|wins|selects?|chooses|stores?|removes?|shifts?|loads?|starts?|stops?|="
)
_ITEM = re.compile(r"`?([0-9]+)`?(?: \([^)]*\))?:")


def sentences(spec: str) -> list[str]:
    """The sentences and list items of a specification, on one line each, without list marks and headings."""
    found = []
    for piece in _SPLIT.split(_without_code(spec)):
        text = " ".join(piece.split()).lstrip("-*# ").strip()
        if len(text) > 12 and not text.endswith(":") and "|" not in text:
            found.append(text)
    return found


def relevant(
    spec: str, names: Iterable[str], numbers: Iterable[str] = (), choices: Iterable[str] = (), limit: int = 170
) -> str:
    """The sentence that says most about these names and numbers, the first of equals; empty if none mentions any.

    `choices` are values of selecting inputs: a list item `1: ...` speaks of the value 1 and of no other.
    """
    wanted = [_mention(name) for name in sorted({*names})]
    exact = [re.compile(rf"(?<![\w']){re.escape(number)}(?!\w)") for number in sorted({*numbers})]
    values = set(choices)
    best, top = "", 0.0
    for sentence in sentences(spec):
        item = _ITEM.match(sentence)
        if len(sentence) > limit or _LISTING.search(sentence) or (item and values and item[1] not in values):
            continue
        hits = sum(bool(p.search(sentence)) for p in wanted) + 2 * bool(item and values)
        if hits:
            hits += 2 * sum(bool(p.search(sentence)) for p in exact)
        # A sentence about few things says more about each of them.
        score = hits / (1 + 0.2 * sentence.count("`"))
        if score > top:
            best, top = sentence, score
    return best


def _mention(name: str) -> re.Pattern[str]:
    """A place that says something of a name: it opens the sentence, or a verb follows it."""
    word = rf"`?(?<!\w){re.escape(name)}(?!\w)`?"
    return re.compile(rf"^(?:The |While |If |When )?{word}|`{re.escape(name)}` (?:{_VERBS})\b")


def requirements(spec: str, limit: int = 170) -> list[str]:
    """Sentences that say when and how, the ones to keep in mind while writing."""
    words = r"\b(when|if|while|until|after|before|only|must|never|always|reset|cycle|edge|otherwise)\b"
    strong = re.compile(words, re.IGNORECASE)
    return [s for s in sentences(spec) if strong.search(s) and len(s) <= limit and not _LISTING.search(s)]


def _without_code(spec: str) -> str:
    return re.sub(r"```.*?```", "\n\n", spec, flags=re.DOTALL)
