"""Light post-processing of what a generator wrote: no blanks at line ends, no filler, one way of fencing code."""

from __future__ import annotations

import re

from ecot.answers import extract_code, format_answer

_FILLER = re.compile(
    r"^\s*(?:(?:okay|ok|alright|all right|sure|great|well|hmm+|right|certainly|of course|absolutely)[,.!]\s*)*"
    r"(?:(?:let me think(?: about (?:this|it))?|let's see|let me see|here we go|i'd be happy to help)[,.!:]\s*)?",
    re.IGNORECASE,
)
_BLANK_LINES = re.compile(r"\n{3,}")


def clean_thinking(text: str) -> str:
    """Thinking without `<think>` tags, opening filler, blanks at line ends or runs of blank lines."""
    text = text.replace("<think>", "").replace("</think>", "").strip()
    text = _tidy(text)
    shorter = _FILLER.sub("", text, count=1)
    return shorter.lstrip() or text


def clean_answer(text: str, language: str) -> str:
    """An answer with its code in one normal fence; an answer without code is only tidied.

    Prose before and after the block is kept as it stands; of several blocks only the one that counts is fenced anew.
    """
    text = _tidy(text.strip())
    code = extract_code(text, language)
    if code is None:
        return text
    stripped = text.strip()
    if stripped.count("```") == 2 and stripped.startswith("```") and stripped.endswith("```"):
        return format_answer(code, language)
    return text


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines))
