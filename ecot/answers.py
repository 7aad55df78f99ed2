"""How code stands in an answer: one fenced block, and how to get it out again."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^`\n]*$")

_ALIASES = {
    "systemverilog": frozenset({"systemverilog", "sv", "verilog", "v"}),
    "verilog": frozenset({"verilog", "v", "systemverilog", "sv"}),
    "python": frozenset({"python", "python3", "py"}),
    "c": frozenset({"c", "h"}),
    "cpp": frozenset({"cpp", "c++", "cc", "cxx"}),
    "cuda": frozenset({"cuda", "cu"}),
    "asm": frozenset({"asm", "assembly", "s", "nasm", "gas"}),
}


def format_answer(code: str, language: str) -> str:
    """The code as one fenced block; `extract_code` gives it back up to blank lines at its ends.

    The fence is longer than any run of backticks in the code, so that nothing in the code can close it.
    """
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    body = code.strip("\n")
    return f"{fence}{language}\n{body}\n{fence}"


def extract_code(content: str, language: str) -> str | None:
    """The last fenced block of that language, or else the last one of any; None without a closed block.

    Usual short names of a language count as the language (`sv` for `systemverilog`). The code ends with one newline.
    """
    blocks = _blocks(content)
    wanted = _ALIASES.get(language.lower(), frozenset({language.lower()}))
    matching = [code for info, code in blocks if info in wanted]
    chosen = matching or [code for _, code in blocks]
    return chosen[-1] if chosen else None


def _blocks(content: str) -> list[tuple[str, str]]:
    """(language as written, code) of each closed fenced block that holds anything."""
    found: list[tuple[str, str]] = []
    fence, info = "", ""
    body: list[str] = []
    for line in content.replace("\r\n", "\n").split("\n"):
        match = _FENCE.match(line)
        if not fence:
            if match:
                fence, info, body = match.group(1), match.group(2).lower(), []
            continue
        stripped = line.strip()
        if stripped and set(stripped) == {fence[0]} and len(stripped) >= len(fence):
            code = "\n".join(body).strip("\n")
            if code.strip():
                found.append((info, code + "\n"))
            fence = ""
        else:
            body.append(line)
    return found
