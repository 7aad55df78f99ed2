"""What is told about a candidate: compiler and linker messages, the emulator's notes, and the comparison in words."""

from __future__ import annotations

import re

from ecot.backends.embedded.frames import Comparison

CANDIDATE_FILE = "candidate.c"
MAX_LINES = 40
MAX_NOTES = 8

_TOOL_PATH = re.compile(r"/\S*/(?:bin/)?(?:arm-none-eabi-)?(ld|as|collect2)(?:\.bfd)?:")
_TEMPORARY = re.compile(r"(?:/tmp/)?cc\w{6,8}\.(?:o|s|ltrans\S*)")
_SYNTAX = re.compile(
    r"error: (expected|stray|missing terminating|unterminated|invalid suffix|#error|unbalanced|embedded NUL)"
    r"|No such file or directory|error: '\w+' undeclared here|at end of input|Error: |null character|#include nested"
    r"|error: macro|directive|is not a valid"
)
_UNDECLARED = re.compile(r"undeclared")
_OVERFLOW = re.compile(r"region [`'](\w+)' overflowed by (\d+) bytes")
_NO_FIT = re.compile(r"section [`']\S+' will not fit in region [`'](\w+)'")
_LINKER = re.compile(r"^(?:ld|collect2): |undefined reference|multiple definition|ld returned|relocation truncated")
_USED = re.compile(r"^\s*(FLASH|RAM):\s+(\d+) (B|KB|MB|GB)\s", re.MULTILINE)
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_UNIMPLEMENTED = re.compile(
    r"^(\S+): unimplemented device (read |write) ?\(size (\d), offset 0x([0-9a-f]+)", re.MULTILINE
)
_REJECTED = re.compile(r"^Invalid (read|write) at addr 0x([0-9A-Fa-f]+), size (\d)", re.MULTILINE)


def normalise(raw: bytes) -> str:
    """Messages of compiler and linker without temporary paths; the hidden side is called `testbench`."""
    text = raw.decode("utf-8", "replace")
    text = _TEMPORARY.sub("candidate.o", _TOOL_PATH.sub(r"\1:", text))
    text = re.sub(r"/tmp/|\./(?=candidate\.c)", "", text).replace("arm-none-eabi-gcc: ", "gcc: ")
    lines: list[str] = []
    for line in text.splitlines():
        if "Memory region" in line or _USED.match(line) or re.match(r"\s+(VECTORS|BENCH_R[OA]M|STACK):", line):
            continue
        if " VMA [" in line:
            continue
        line = re.sub(r"(ld: )?bench\.o: in function `\w+':", "testbench:", line)
        line = re.sub(r"bench\.c:\(\.\w[^)]*\):", "testbench:", line)
        line = re.sub(r"candidate\.c:\((\.\w[^)+]*)\+0x[0-9a-f]+\)", r"candidate.c:(\1)", line).rstrip()
        if line and line not in lines[-1:]:
            lines.append(line)
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"... {len(lines) - MAX_LINES} more lines"]
    return "\n".join(lines) + "\n" if lines else ""


def overflowed_region(messages: str) -> str:
    """`flash` or `ram` if the image does not fit, otherwise the empty string."""
    match = _OVERFLOW.search(messages) or _NO_FIT.search(messages)
    if match is None:
        return ""
    return "flash" if match[1] in ("FLASH", "BENCH_ROM", "VECTORS") else "ram"


def classify_compilation(messages: str) -> str:
    """The subcode of a COMPILATION_ERROR: `syntax`, `elaboration` (names and types), `link` or `unsupported`."""
    lines = messages.splitlines()
    if any("sorry, unimplemented" in line or "internal compiler error" in line for line in lines):
        return "unsupported"
    errors = [line for line in lines if "error: " in line or "Error: " in line]
    compiler_errors = [line for line in errors if not _LINKER.search(line)]
    if not compiler_errors and any(_LINKER.search(line) for line in lines):
        return "link"
    if any(_SYNTAX.search(line) and not _UNDECLARED.search(line) for line in compiler_errors or lines):
        return "syntax"
    return "elaboration"


def memory_usage(stdout: bytes) -> dict[str, float]:
    """Bytes of flash and RAM that the linker counted. The last table is the linker's: the assembler can print too."""
    found: dict[str, float] = {}
    for match in _USED.finditer(stdout.decode("utf-8", "replace")):
        found[f"{match[1].lower()}_bytes"] = float(int(match[2]) * _UNITS[match[3]])
    return found


def emulator_notes(stderr: bytes) -> list[str]:
    """Accesses to hardware that is not modelled or not there, each kind once, in the order of the first."""
    text = stderr.decode("utf-8", "replace")
    notes: dict[str, None] = {}
    for line in text.splitlines():
        if match := _UNIMPLEMENTED.match(line):
            notes[f"emulator: {match[2].strip()} of {match[1]}, offset 0x{int(match[4], 16):03x}: not modelled"] = None
        elif match := _REJECTED.match(line):
            notes[f"emulator: {match[1]} of {match[3]} bytes at 0x{int(match[2], 16):08x}: nothing is there"] = None
    found = list(notes)
    return [*found[:MAX_NOTES], f"emulator: {len(found) - MAX_NOTES} more notes"] if len(found) > MAX_NOTES else found


def describe_comparison(comparison: Comparison) -> str:
    """The summary that a test bench prints at its end."""
    if not comparison.mismatches:
        return f"test bench finished: all {comparison.samples} cases match\n"
    first = comparison.mismatches[0]
    lines = [f"test bench finished: {len(comparison.mismatches)} of {comparison.samples} cases mismatch"]
    inputs = f" (inputs: {first.inputs})" if first.inputs else ""
    lines.append(
        f"first mismatch in case {first.case} ({first.case_name}): output '{first.output}' expected {first.expected}, "
        f"got {first.got}{inputs}"
    )
    for name, (count, case) in comparison.per_output.items():
        lines.append(f"output '{name}': {count} mismatches, first in case {case}")
    return "\n".join(lines) + "\n"
