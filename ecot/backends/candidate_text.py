"""What every backend refuses before any tool reads it."""

from __future__ import annotations

from ecot.outcomes import Execution, Label, Stage

MAX_SOURCE_BYTES = 1 << 20
"""A candidate above this is refused unread; real ones have some thousand bytes."""


def screen_source(code: str, file: str, nul: str = "error: NUL character in the source") -> Execution | None:
    """Refuse what is not worth giving to a tool.

    Args:
        code: the candidate.
        file: the name under which diagnostics speak of it.
        nul: what is said of a NUL character, at which many tools stop reading and judge only what stands before;
            nothing for a tool that refuses it itself.
    """
    if not code.strip():
        return Execution(Label.FORMAT_ERROR, "no_code", Stage.PARSE, "no code: the candidate is empty\n")
    size = len(code.encode("utf-8", "replace"))
    if size > MAX_SOURCE_BYTES:
        text = f"{file}: error: {size} bytes of source; at most {MAX_SOURCE_BYTES} are accepted\n"
        return Execution(Label.RESOURCE_EXCEEDED, "", Stage.PARSE, text)
    if nul and "\0" in code:
        line = code[: code.index("\0")].count("\n") + 1
        return Execution(Label.COMPILATION_ERROR, "syntax", Stage.PARSE, f"{file}:{line}: {nul}\n")
    return None
