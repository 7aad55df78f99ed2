"""Text of unknown origin made safe to look at: what would command a terminal or hide text is written out."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_KEPT = "\n\t\u200c\u200d"
"""Line breaks and tabs, and the joiners within characters of several code points."""
_PLAIN = re.compile(r"[\x20-\x7e\n\t]*")


def visible(text: str) -> str:
    r"""The text with control and format characters as escapes, for example `\x1b` and `\u202e`.

    A terminal executes the former (colours, titles, answers typed as if by the user) and the latter reorder or hide
    what stands around them.
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_escaped(c) if c not in _KEPT and unicodedata.category(c) in _HIDDEN else c for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode() if character != "\r" else r"\r"
