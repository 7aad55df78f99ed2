"""A CUDA candidate's text: what is refused, and its form for the CPU."""

from __future__ import annotations

import re

from ecot.outcomes import Execution, Label, Stage

CANDIDATE = "candidate.cu"

ALLOWED_HEADERS = frozenset(
    "cuda_runtime.h device_launch_parameters.h math_constants.h stdint.h cstdint math.h cmath float.h cfloat limits.h "
    "climits assert.h cassert stdio.h cstdio type_traits stddef.h cstddef".split()
)
"""What a kernel may include."""

_REFUSED_WORDS = frozenset(
    "main system popen fopen freopen fdopen tmpfile remove rename exit _exit _Exit quick_exit atexit fork vfork execve "
    "syscall mmap munmap mprotect dlopen dlsym signal sigaction raise kill getenv setenv putenv longjmp setjmp "
    "constructor destructor section alias ucontext makecontext setcontext swapcontext".split()
)
"""Of the host; a kernel needs none of them."""

_COMMENT_OR_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*(?:[<\"]([^>\"\n]*)[>\"]|(.*))", re.MULTILINE)
_WORD = re.compile(r"\b[A-Za-z_]\w*")
_DYNAMIC = re.compile(
    r"\bextern\s+__shared__\s+(?P<align>__align__\s*\([^)]*\)\s*)?(?P<type>[A-Za-z_][\w\s:]*?)\s+(?P<name>\w+)\s*\[\s*\]\s*;"
)
_CUDA_HEADERS = re.compile(
    r"^[ \t]*#[ \t]*include[ \t]*[<\"](?:cuda_runtime|device_launch_parameters|math_constants)\.h[>\"]", re.MULTILINE
)


def screen_cuda(code: str) -> Execution | None:
    """Refuse headers and names that kernels do not need."""
    text = blank(code.replace("\\\r\n", "").replace("\\\n", ""))
    with_strings = _blank(code, keep_strings=True)
    for match in _INCLUDE.finditer(with_strings):
        if match[1] not in ALLOWED_HEADERS:
            shown = match[1] or (match[2] or "").strip()
            message = f"header '{shown}' is not available here; allowed: {', '.join(sorted(ALLOWED_HEADERS))}"
            line = with_strings[: match.start()].count("\n") + 1
            return _refusal(Label.COMPILATION_ERROR, "unsupported", line, message)
    for match in _WORD.finditer(text):
        word, line = match[0], text[: match.start()].count("\n") + 1
        if word in ("asm", "__asm__", "__asm"):
            return _refusal(Label.COMPILATION_ERROR, "unsupported", line, "inline assembly cannot be run here")
        if word in _REFUSED_WORDS or word.lower().startswith("ecot"):
            return _refusal(Label.PROTOCOL_VIOLATION, "sandbox_denial", line, f"'{word}' may not be used")
    return None


def for_the_cpu(code: str) -> str | None:
    """The candidate as C++ for the emulation, line for line; None if it cannot be put so.

    Only two things need other text: dynamic shared memory becomes a pointer, and CUDA's own headers go.
    """
    plain = blank(code)
    pieces, cursor = [], 0
    for match in _DYNAMIC.finditer(plain):
        if plain[: match.start()].count("{") <= plain[: match.start()].count("}"):
            return None  # outside of every function, where there is no launch whose memory it could be
        kind, name = " ".join(match["type"].split()), match["name"]
        pieces += [code[cursor : match.start()], f"{kind} *{name} = static_cast<{kind} *>(::ecot::dynamic_shared());"]
        pieces.append("\n" * match[0].count("\n"))
        cursor = match.end()
    return _CUDA_HEADERS.sub("", "".join([*pieces, code[cursor:]]))


def blank(code: str) -> str:
    """The code with comments and strings replaced by spaces, every other character in its place."""
    return _blank(code, keep_strings=False)


def _blank(code: str, keep_strings: bool) -> str:
    def spaces(match: re.Match[str]) -> str:
        if keep_strings and match[0][0] in "\"'":
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])

    return _COMMENT_OR_STRING.sub(spaces, code)


def _refusal(label: Label, subcode: str, line: int, message: str) -> Execution:
    return Execution(label, subcode, Stage.PARSE, f"{CANDIDATE}({line}): error: {message}\n")
