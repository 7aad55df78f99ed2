"""Changes of style that keep the meaning."""

from __future__ import annotations

import re
from random import Random

from ecot.synthesis.faults.places import binary
from ecot.synthesis.mechanical.variation.rewriting import replace_spans
from ecot.synthesis.verilog.design import Design, Process, read_design
from ecot.synthesis.verilog.syntax import enclosing

_COMMUTATIVE = ("&", "|", "^", "&&", "||", "==", "!=")


def restyle(code: str, rng: Random) -> str:
    """Comments, sensitivity lists, operand order, number formats and indentation, each changed or not by chance."""
    if rng.random() < 0.6:
        code = strip_comments(code)
    code = _swap_operands(code, rng)
    code = _respell_numbers(code, rng)
    code = _respell_processes(code, rng)
    if rng.random() < 0.5:
        code = _indent_by_two(code)
    return code


def strip_comments(code: str) -> str:
    """The code without comments; lines that held nothing else go too."""
    tree = read_design(code).tree
    spans = []
    for node in tree.of("one_line_comment", "block_comment", "comment"):
        start, end = node.start_byte, node.end_byte
        if tree.slice(start, end).endswith("\n"):
            end -= 1
        first, last = tree.line_span(start)
        _, last = tree.line_span(max(start, end - 1))
        if not tree.slice(first, start).strip() and not tree.slice(end, last).strip():
            spans.append((first, last, ""))
        else:
            blanks = len(tree.slice(first, start)) - len(tree.slice(first, start).rstrip())
            spans.append((start - blanks, end, ""))
    return re.sub(r"\n{3,}", "\n\n", replace_spans(code, spans)).lstrip("\n")


def _swap_operands(code: str, rng: Random) -> str:
    design = read_design(code)
    spans: list[tuple[int, int, str]] = []
    covered = -1
    for node, left, _, right in binary(design, *_COMMUTATIVE):
        one, other = design.tree.text(left), design.tree.text(right)
        nested = any(part.child_by_field_name("operator") is not None for part in (left, right))
        literal = right.end_byte > right.start_byte and other[0] in "'0123456789"
        if node.start_byte < covered or nested or literal or "?" in one + other or "\n" in design.tree.text(node):
            continue
        if rng.random() < 0.25:
            middle = design.tree.slice(left.end_byte, right.start_byte)
            spans.append((left.start_byte, right.end_byte, other + middle + one))
            covered = node.end_byte
    return replace_spans(code, spans)


def _respell_numbers(code: str, rng: Random) -> str:
    """Sized decimal numbers of at least four bits in hexadecimal, for some texts."""
    if rng.random() < 0.6:
        return code
    design = read_design(code)
    spans = []
    for node in design.tree.of("decimal_number"):
        match = re.fullmatch(r"(\d+)'d(\d+)", design.tree.text(node))
        if match and int(match[1]) >= 4:
            digits = (int(match[1]) + 3) // 4
            spans.append((node.start_byte, node.end_byte, f"{match[1]}'h{int(match[2]):0{digits}x}"))
    return replace_spans(code, spans)


def _respell_processes(code: str, rng: Random) -> str:
    """One way per text of writing `always_ff` and `always @(*)`."""
    design = read_design(code)
    clocked, star = rng.choice((None, "always", "always_ff")), rng.choice((None, "@(*)", "@*"))
    plain = rng.random() < 0.3
    spans = []
    for node in design.tree.of("always_keyword"):
        always = enclosing(node, "always_construct")
        if always is None:
            continue
        process = next(p for p in design.processes if p.start == always.start_byte)
        if process.clocked and clocked is not None:
            spans.append((node.start_byte, node.end_byte, clocked))
        elif plain and design.tree.text(node) == "always_comb":
            spans.append((node.start_byte, node.end_byte, f"always {star or '@(*)'}"))
    for node in design.tree.of("event_control"):
        if star is not None and design.tree.text(node).replace(" ", "") in ("@(*)", "@*"):
            spans.append((node.start_byte, node.end_byte, star))
    return replace_spans(code, spans)


def comment_processes(code: str, rng: Random) -> str:
    """A remark over every always block that has none: what it writes."""
    design = read_design(code)
    spans = []
    for process in design.processes:
        start, _ = design.tree.line_span(process.start)
        indent = design.tree.slice(start, process.start)
        above = design.tree.line_text(design.tree.line(start) - 1)
        if not indent.strip() and not above.startswith("//"):
            spans.append((start, start, f"{indent}// {_remark(design, process, rng)}\n"))
    return replace_spans(code, spans)


def _remark(design: Design, process: Process, rng: Random) -> str:
    names = [name for name in sorted(process.targets) if name in design.names]
    listed = ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
    if process.clocked:
        return rng.choice((f"registers: {listed}", f"clocked: {listed}", f"state update ({listed})"))
    return rng.choice((f"combinational: {listed}", f"logic for {listed}", f"decode {listed}"))


def _indent_by_two(code: str) -> str:
    def halve(match: re.Match[str]) -> str:
        return " " * (len(match[0]) // 2)

    return re.sub(r"^(?: {4})+", halve, code, flags=re.MULTILINE)
