"""What Verilator is given of a candidate: text without comments, screened after all preprocessing is done.

Verilator compiles to C++, so a text can ask for more than a simulation: C++ of its own (`$c`), foreign functions,
blocks for the generated files, and comments that are commands. The text that is screened here is the text that is
compiled; where this tokeniser and Verilator's could disagree on where a string or a comment ends, it is refused.
"""

from __future__ import annotations

import re

from ecot.backends.chip_design.lexer import Token, TokenKind, tokenise, words
from ecot.backends.chip_design.screening import ALLOWED_CALLS

_DIRECTIVES = words(
    "`line `timescale `default_nettype `celldefine `endcelldefine `unconnected_drive `nounconnected_drive `resetall "
    "`begin_keywords `end_keywords"
)
"""What the preprocessor leaves for the parser. All others were carried out by it, or belong to Verilator alone."""

_REFUSED_WORDS = words("bind force release ref")
"""Reach from one module into another, or through a port (`ref` is written to from both sides) into the testbench."""

_OTHER_CALLS = words("$unit")
"""Scopes, written like system functions."""

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_LINE_BREAK = re.compile(r"(?<!\\)\n")


def without_comments(text: str) -> str:
    """Blanks in place of comments, which may hold commands (`/*verilator public*/`); lines and columns stay."""
    return "".join(_without_comment(token) for token in tokenise(text))


def _without_comment(token: Token) -> str:
    if token.kind is not TokenKind.COMMENT:
        return token.text
    return re.sub(r"[^\n]", " ", token.text)


def ambiguity(text: str) -> tuple[int, str] | None:
    """Line and message of the first place that this tokeniser and Verilator's might read differently; None if none."""
    line, previous = 1, TokenKind.SPACE
    for token in tokenise(text):
        problem = _token_problem(token)
        if token.kind is previous is TokenKind.STRING:
            problem = "syntax error: a string right behind a string"  # newer versions read three quotes as one
        if problem:
            return line, problem
        line, previous = line + token.text.count("\n"), token.kind
    return None


def _token_problem(token: Token) -> str:
    if token.kind is TokenKind.COMMENT:
        unterminated = token.text.startswith("/*") and not token.text.endswith("*/")
        return "syntax error: unterminated comment" if unterminated else ""
    if match := _CONTROL.search(token.text):
        return f"syntax error: control character {ord(match[0]):#04x}"
    if token.kind is TokenKind.STRING:
        if token.text == '"' or not token.text.endswith('"') or _LINE_BREAK.search(token.text):
            return "syntax error: unterminated string"
        return ""
    return "" if token.text.isascii() else "syntax error: a character outside ASCII"


def refusals(text: str) -> list[str]:
    """What a preprocessed text holds that may not be used in this environment; sorted, each once."""
    tokens = [token for token in tokenise(text) if token.kind is not TokenKind.SPACE]
    found = set()
    for index, token in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else token
        if token.kind is TokenKind.SYSTEM:
            if token.text not in ALLOWED_CALLS | _OTHER_CALLS:
                found.add(token.text)
        elif token.kind is TokenKind.DIRECTIVE:
            if token.text not in _DIRECTIVES:
                found.add(token.text)
        elif token.kind is TokenKind.COMMENT:
            found.add("a comment made by macros")
        elif token.kind is TokenKind.WORD and following is not token:
            if token.text in _REFUSED_WORDS:
                found.add(token.text)
            elif token.text in ("import", "export") and following.kind is TokenKind.STRING:
                found.add(f"{token.text} {following.text}")
    return sorted(found)


def reachable_text(text: str, entry: str) -> str:
    """The text without the modules that neither `entry` nor anything outside of modules names; lines stay.

    Candidates like to bring a testbench of their own. It is never built, so it may say what it likes.
    """
    modules, outside = _split_modules(text)
    reached, new = set(), {entry} | outside
    while new:
        reached |= new
        new = {word for name in new for _, _, word_set in modules.get(name, ()) for word in word_set} - reached
    kept = list(text)
    for name, places in modules.items():
        if name not in reached:
            for start, end, _ in places:
                kept[start:end] = [c if c == "\n" else " " for c in text[start:end]]
    return "".join(kept)


_Place = tuple[int, int, frozenset[str]]
"""Start and end in the text, and all words between."""


def _split_modules(text: str) -> tuple[dict[str, list[_Place]], set[str]]:
    """The modules by name, and the words that stand outside of all modules."""
    modules: dict[str, list[_Place]] = {}
    outside: set[str] = set()
    inside: set[str] = set()
    start, end, name = -1, 0, ""
    for token in tokenise(text):
        begin, end = end, end + len(token.text)
        if token.kind not in (TokenKind.WORD, TokenKind.ESCAPED):
            continue
        word = token.text.removeprefix("\\")
        if start < 0:
            if word in ("module", "macromodule"):
                start, name, inside = begin, "", set()
            else:
                outside.add(word)
        elif word == "endmodule":
            # `endmodule : name` makes the module count as named from outside, and so as reached.
            modules.setdefault(name, []).append((start, end, frozenset(inside)))
            start = -1
        elif not name and word not in ("automatic", "static"):
            name = word
        else:
            inside.add(word)
    return modules, outside | inside if start >= 0 else outside


_REPLACED = {
    "$stop": "$finish",  # as where nobody is at the terminal
    "$error": "$warning",  # both print and go on; for Verilator the former ends the simulation, as `$fatal` does
}


def with_batch_calls(text: str) -> str:
    """System tasks that Verilator takes otherwise than a simulator in a batch run, replaced by what they do there."""
    return "".join(_REPLACED.get(token.text, token.text) for token in tokenise(text))


def input_ports(reference: str, module: str, header: frozenset[str]) -> list[str]:
    """The inputs of a task's own reference, in the order of their declaration.

    Args:
        reference: trusted source.
        module: its name.
        header: the identifiers of the module's header, so that arguments of functions are told apart.
    """
    tokens = [token.text for token in tokenise(reference) if token.kind not in (TokenKind.SPACE, TokenKind.COMMENT)]
    start = next(i for i in range(len(tokens)) if tokens[i : i + 2] == ["module", module])
    direction, depth, found = "", 0, []
    for text, following in zip(tokens[start + 2 :], tokens[start + 3 :], strict=False):
        depth += (text == "[") - (text == "]")
        if text == "endmodule":
            break
        if depth:
            continue
        if text in ("input", "output", "inout", "ref", ")", ";"):
            direction = text
        elif direction == "input" and text in header and following in (",", ")", ";", "="):
            found.append(text)
    return sorted(set(found), key=found.index)
