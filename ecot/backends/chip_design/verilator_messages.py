"""Verilator's messages: normalised, and sorted into the subcodes of a compilation error."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ecot.backends.chip_design.diagnostics import MAX_LINES, tool_line
from ecot.backends.chip_design.harness import CANDIDATE_FILE, TOP, Bench
from ecot.outcomes import Execution, Label, Stage

_MESSAGE = re.compile(r"%(Error|Warning)(?:-(\w+))?: (?:(\S+?):(\d+):(?:(\d+):)? )?(.*)")
_CLOSING = re.compile(r"Exiting due to|Cannot continue|This may be because there.s no search path|Looked in:")
_ADVICE = re.compile(r"\s+: \.\.\. (Suggested alternative: .*)")
_SYNTAX = re.compile(
    r"syntax error|[Uu]nterminated|EOF in|Define or directive not defined|Cannot find include file|"
    r"Missing verilog\.l rule|Illegal (?:base )?character|Expecting define|Bad hex|`\w+ with no |`ifdef|`else|`endif|"
    r"Define passed|Recursive `define|Macro |No `|Number is missing|Unexpected|too many ', but"
)
_CRASH = re.compile(r"Internal Error|internal fault|Assertion `.*' failed|parser stack overflow|memory exhausted")
_UNSUPPORTED = re.compile(r"Unsupported|unsupported|not supported")
_RUNTIME = re.compile(r"(?:%Error: |%Fatal: |runtime: )(.*)")


@dataclass(frozen=True)
class _Found:
    code: str
    text: str
    line: str
    """As it is shown."""


def judge_messages(raw: bytes, bench: Bench, preprocessing: bool = False) -> Execution:
    """The outcome of a candidate that Verilator refused.

    Args:
        raw: what it wrote to standard error.
        bench: whose names and files are to be hidden.
        preprocessing: whether only the preprocessor ran; all that it objects to is syntax.
    """
    errors = _errors(raw, bench)
    shown = list(dict.fromkeys(error.line for error in errors))
    if len(shown) > MAX_LINES:
        shown = [*shown[:MAX_LINES], f"... {len(shown) - MAX_LINES} more lines"]
    subcode = "syntax" if preprocessing else _subcode(errors)
    return Execution(Label.COMPILATION_ERROR, subcode, Stage.COMPILE, "".join(f"{line}\n" for line in shown))


def syntax_error(line: int, message: str) -> Execution:
    """The outcome of a candidate whose text is refused before Verilator sees it."""
    return Execution(Label.COMPILATION_ERROR, "syntax", Stage.COMPILE, tool_line(line, message))


def _subcode(errors: list[_Found]) -> str:
    """The parser gives up before elaboration starts, so a syntax error decides; otherwise the first error does."""
    if any(_CRASH.search(error.text) for error in errors):
        return "unsupported"
    if any(_SYNTAX.match(error.text) for error in errors):
        return "syntax"
    first = errors[0] if errors else _Found("", "", "")
    return "unsupported" if first.code == "UNSUPPORTED" or _UNSUPPORTED.search(first.text) else "elaboration"


def _errors(raw: bytes, bench: Bench) -> list[_Found]:
    """The errors without advice, pictures of the source, and whatever tells of the testbench's text."""
    found: list[_Found] = []
    for line in raw.decode("utf-8", "replace").splitlines():
        if (advice := _ADVICE.match(line)) and found:
            last = found.pop()
            found.append(_Found(last.code, last.text, f"{last.line} ({_hide(advice[1], bench)})"))
        match = _MESSAGE.match(line)
        if match is None or match[1] == "Warning" or _CLOSING.match(match[6]):
            continue
        text = _hide(match[6], bench)
        found.append(_Found(match[2] or "", text, f"{_place(match, bench)}error: {text}"))
    return found


def _place(match: re.Match[str], bench: Bench) -> str:
    file, line, column = match[3], match[4], match[5]
    if not file:
        return ""
    if bench.folder in file:
        return f"{TOP}: "
    return f"{CANDIDATE_FILE}:{line}:{column}: " if column else f"{CANDIDATE_FILE}:{line}: "


def _hide(text: str, bench: Bench) -> str:
    return text.replace(bench.suffix, "").replace(f"{bench.folder}/", "").replace(bench.folder, "").rstrip()


def runtime_text(raw: bytes, bench: Bench, entry: str) -> str:
    """The last message of a simulation's runtime, the candidate's instance called by the name of its module."""
    found = _RUNTIME.findall(raw.decode("utf-8", "replace"))
    if not found:
        return ""
    text = re.sub(rf"\b(?:TOP\.)?{bench.top}\.\w+{bench.suffix}\b", entry, found[-1])
    return f"{_hide(text, bench)}\n"
