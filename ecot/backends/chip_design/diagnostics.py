"""What is told about a candidate: the tool's messages, normalised, and the simulator's summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ecot.backends.chip_design.harness import CANDIDATE_FILE, TOP, Bench, TimeUnit
from ecot.backends.chip_design.verdict import Verdict

MAX_LINES = 40
"""A broken line can make the compiler complain hundreds of times; the first messages are the ones that matter."""

_TEMPORARY = re.compile(r"/tmp/\w+")
_SYNTAX = re.compile(
    r"syntax error|I give up|malformed|Malformed|[Uu]nmatched|unterminated|Unterminated|lacks an `endif|"
    r"Include file|[Ii]nvalid (statement|module item)|Errors in|error: Invalid|Unable to open input file|"
    r"already declared here.*macro|Number of macro arguments"
)
_CRASH = re.compile(r"Assertion `.*' failed|internal error|Segmentation fault|Aborted|SIGSEGV")

_NOISE = ("(all bits will be included)", "Program not runnable")
"""A `sorry:` about sensitivity lists that is no error, and a line that names a file of ours."""

_HIDDEN_FILE = "<testbench>"
_HIDDEN_LINE = re.compile(rf"{_HIDDEN_FILE}:\d+:(.*)")
_INTERFACE = re.compile(r"error:|sorry:|expects \d+ bits|coerced to inout")


def normalise(raw: bytes, bench: Bench, entry: str) -> str:
    """Tool messages without names that differ from run to run or that belong to the hidden testbench.

    The candidate's file is `candidate.sv`; a message about the testbench's side says `testbench:` and no line.
    """
    text = raw.decode("utf-8", "replace").replace(bench.file_name, _HIDDEN_FILE)
    # The instance of the candidate inside the testbench is, to its author, the module itself.
    text = re.sub(rf"\b{bench.top}\.\w+{bench.suffix}\b", entry, text)
    text = re.sub(rf"port of \w+{bench.suffix}\b", f"port of {entry}", text)
    text = _TEMPORARY.sub("", text.replace(bench.suffix, "").replace(bench.folder, "")).replace(
        f"./{CANDIDATE_FILE}", CANDIDATE_FILE
    )
    lines = [line.rstrip() for line in _tell_interface(text.splitlines())]
    lines = [line for line in lines if line and not any(text in line for text in _NOISE)]
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"... {len(lines) - MAX_LINES} more lines"]
    return "\n".join(lines) + "\n" if lines else ""


def _tell_interface(lines: Iterable[str]) -> Iterator[str]:
    """Of the messages about the testbench keep those about the candidate's interface, without line numbers."""
    kept = False
    for line in lines:
        match = _HIDDEN_LINE.match(line)
        if match is None:
            yield line.replace(_HIDDEN_FILE, TOP)
            continue
        text = match[1]
        # A line that starts with a second colon goes on with the message before it.
        kept = kept if text.lstrip().startswith(":") else _INTERFACE.search(text) is not None
        if kept:
            yield f"{TOP}:{text}"


def classify_compilation(messages: str) -> str:
    """The subcode of a COMPILATION_ERROR, from normalised messages: `syntax`, `unsupported` or `elaboration`.

    The parser gives up before elaboration starts, so a syntax error decides; otherwise the first message does.
    """
    lines = [line for line in messages.splitlines() if "warning:" not in line]
    if any(_SYNTAX.search(line) for line in lines):
        return "syntax"
    if any(_CRASH.search(line) for line in lines):
        return "unsupported"
    for line in lines:
        if "error:" in line:
            return "elaboration"
        if "sorry:" in line:
            return "unsupported"
    return "elaboration"


def describe_verdict(verdict: Verdict, unit: TimeUnit) -> str:
    """The summary that a self-checking testbench prints at its end."""
    if verdict.mismatches == 0:
        return f"simulation finished: all {verdict.samples} samples match\n"
    lines = [f"simulation finished: {verdict.mismatches} of {verdict.samples} samples mismatch"]
    if first := verdict.first:
        values = f" expected {first.want}, got {first.got}" if first.want else ""
        inputs = f" (inputs: {first.inputs})" if first.inputs else ""
        lines.append(f"first mismatch at {unit.show(first.first_time)}: output '{first.signal}'{values}{inputs}")
    for record in verdict.outputs:
        state = "no mismatch"
        if record.failures:
            state = f"{record.failures} mismatches, first at {unit.show(record.first_time)}"
        lines.append(f"output '{record.signal}': {state}")
    return "\n".join(lines) + "\n"


def tool_line(number: int, message: str) -> str:
    """A message of ours in the tool's own form."""
    return f"{CANDIDATE_FILE}:{number}: error: {message}\n"
