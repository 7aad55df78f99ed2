"""Faults in constants, widths and selections."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tree_sitter import Node

from ecot.synthesis.faults.edit import Change, Family, operator
from ecot.synthesis.faults.places import in_fixed_place
from ecot.synthesis.verilog.design import LVALUES, Design, Role
from ecot.synthesis.verilog.syntax import SyntaxTree, ancestors, enclosing

_SELECTIONS = ("select", "constant_select", "constant_bit_select", *LVALUES)
_RADIX = {"b": 2, "o": 8, "d": 10, "h": 16}


def _literal(tree: SyntaxTree, node: Node) -> tuple[int | None, str, str, int] | None:
    """(size or None, base letter or empty, digits, value) of an integer literal; None with x, z or ? digits."""
    size, base = node.child_by_field_name("size"), node.child_by_field_name("base")
    if base is None:
        text = tree.text(node)
        return (None, "", text, int(text)) if text.isdigit() else None
    digits_node = node.child_by_field_name("value")
    letter = tree.text(base)[-1].lower()
    digits = tree.text(digits_node).replace("_", "") if digits_node is not None else ""
    try:
        value = int(digits, _RADIX[letter])
    except ValueError:
        return None
    return (int(tree.text(size)) if size is not None else None), letter, digits, value


def _numbers(design: Design) -> Iterator[Node]:
    for node in design.tree.of("binary_number", "hex_number", "decimal_number", "octal_number"):
        if not in_fixed_place(node) and not any(outer.type in _SELECTIONS for outer in ancestors(node)):
            yield node


def _spell(size: int, letter: str, value: int, digits: str) -> str:
    if letter == "d":
        return f"{size}'d{value}"
    form = {"b": "b", "o": "o", "h": "x"}[letter]
    text = format(value, f"0{len(digits)}{form}")
    return f"{size}'{letter}{text.upper() if digits.isupper() else text}"


@operator("wrong_constant", Family.BEHAVIOUR)
def wrong_constant(design: Design, rng: Random) -> Iterator[Change]:
    """A constant that is off by one."""
    for node in _numbers(design):
        parts = _literal(design.tree, node)
        if parts is None:
            continue
        size, letter, digits, value = parts
        top = (1 << size) - 1 if size is not None else 1 << 30
        near = [n for n in (value - 1, value + 1) if 0 <= n <= top]
        if not near:
            continue
        other = rng.choice(near)
        text = str(other) if not letter or size is None else _spell(size, letter, other, digits)
        facts = {"value": design.tree.text(node), "wrong": text, "number": str(value)}
        yield Change(node.start_byte, node.end_byte, text, facts)


@operator("wrong_base", Family.BEHAVIOUR)
def wrong_base(design: Design, rng: Random) -> Iterator[Change]:
    """A based literal whose digits are read in another base."""
    for node in _numbers(design):
        parts = _literal(design.tree, node)
        base = node.child_by_field_name("base")
        if parts is None or base is None or not parts[2].isdigit() or len(parts[2]) < 2:
            continue
        size, letter, digits, value = parts
        others = [b for b in ("d", "h", "b") if b != letter and (b != "b" or set(digits) <= {"0", "1"})]
        others = [b for b in others if size is None or int(digits, _RADIX[b]) % (1 << size) != value]
        if others:
            wrong = rng.choice(others)
            text = design.tree.text(base)[:-1] + wrong
            facts = {"base": letter, "wrong": wrong, "digits": digits, "value": str(value)}
            facts["wrong_value"] = str(int(digits, _RADIX[wrong]) % (1 << size) if size else int(digits, _RADIX[wrong]))
            yield Change(base.start_byte, base.end_byte, text, facts)


@operator("wrong_size", Family.BEHAVIOUR)
def wrong_size(design: Design, rng: Random) -> Iterator[Change]:
    """A sized literal with too few bits for its value, or for its place in a concatenation."""
    for node in _numbers(design):
        parts, size_node = _literal(design.tree, node), node.child_by_field_name("size")
        if parts is None or size_node is None or parts[0] is None or parts[0] < 2:
            continue
        size, value = parts[0], parts[3]
        inside = node.parent is not None and enclosing(node, "concatenation") is not None
        narrow = [n for n in range(1, size) if inside or value >> n]
        if narrow:
            wrong = rng.choice(narrow)
            facts = {"size": str(size), "wrong_bits": f"{wrong} bit{'s' if wrong > 1 else ''}"}
            yield Change(size_node.start_byte, size_node.end_byte, str(wrong), facts)


@operator("wrong_declared_width", Family.BEHAVIOUR)
def wrong_declared_width(design: Design, rng: Random) -> Iterator[Change]:
    """A signal declared one bit too narrow."""
    for node in design.tree.of("packed_dimension"):
        outer = enclosing(node, "data_declaration", "net_declaration", "ansi_port_declaration")
        if outer is None or enclosing(node, "type_declaration", "function_declaration") is not None:
            continue
        names = [i for i in design.names.values() if outer.start_byte <= i.start < outer.end_byte]
        numbers = design.tree.below(node, "unsigned_number")
        if not names or not numbers or any(i.role is Role.INPUT for i in names):
            continue
        text = design.tree.text(numbers[0])
        minus = design.tree.text(node).partition(":")[0].count("-") == 1
        wrong = int(text) + 1 if minus else int(text) - 1
        if wrong > 0 or (minus and wrong > 1):
            facts = {"name": names[0].name, "names": ", ".join(i.name for i in names)}
            facts["range"] = design.tree.text(node)
            span = numbers[0]
            yield Change(span.start_byte, span.end_byte, str(wrong), facts, frozenset(i.name for i in names))


@operator("wrong_index", Family.BEHAVIOUR)
def wrong_index(design: Design, rng: Random) -> Iterator[Change]:
    """A bit or part select that is one position off."""
    tree = design.tree
    for node in tree.of("select", "constant_select"):
        if in_fixed_place(node) or any(outer.type.endswith("for_initialization") for outer in ancestors(node)):
            continue
        numbers = design.tree.below(node, "unsigned_number")
        signal = node.parent
        names = sorted(design.identifiers(signal)) if signal is not None else []
        if not numbers or not names or signal is None:
            continue
        number = rng.choice(numbers)
        value = int(tree.text(number))
        # `[W-0]` or `[i+0]` is nothing that anybody writes.
        lowest = 1 if tree.slice(0, number.start_byte).rstrip().endswith(("-", "+")) else 0
        wrong = rng.choice([n for n in (value - 1, value + 1) if n >= lowest])
        old = tree.text(signal)
        at = number.start_byte - signal.start_byte
        new = old[:at] + str(wrong) + old[at + number.end_byte - number.start_byte :]
        yield Change(number.start_byte, number.end_byte, str(wrong), {"select": old, "wrong": new}, frozenset(names))
