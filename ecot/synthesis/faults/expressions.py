"""Faults in operators, operands and conditions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from random import Random

from ecot.synthesis.faults.edit import Change, Family, operator
from ecot.synthesis.faults.places import binary, in_fixed_place
from ecot.synthesis.verilog.design import Design
from ecot.synthesis.verilog.syntax import enclosing

_COMPARISONS = {
    "<": ("<=", ">"),
    "<=": ("<",),
    ">": (">=", "<"),
    ">=": (">",),
    "==": ("!=",),
    "!=": ("==",),
}
_OPERATORS = {
    "+": ("-",),
    "-": ("+",),
    "&": ("|",),
    "|": ("&", "^"),
    "^": ("&", "|"),
    "&&": ("||",),
    "||": ("&&",),
    "<<": (">>",),
    ">>": ("<<",),
    ">>>": (">>",),
    "*": ("+",),
}


@operator("wrong_comparison", Family.BEHAVIOUR)
def wrong_comparison(design: Design, rng: Random) -> Iterator[Change]:
    """A comparison with the wrong relation."""
    yield from _replace_operator(design, rng, _COMPARISONS)


@operator("wrong_operator", Family.BEHAVIOUR)
def wrong_operator(design: Design, rng: Random) -> Iterator[Change]:
    """An arithmetic, bitwise or logical operator that is another one."""
    yield from _replace_operator(design, rng, _OPERATORS)


def _replace_operator(design: Design, rng: Random, table: dict[str, tuple[str, ...]]) -> Iterator[Change]:
    tree = design.tree
    for node, _, token, _ in binary(design, *table):
        wrong = rng.choice(table[token.type])
        text = tree.text(node)
        if len(text) > 120 or "\n" in text:
            continue
        at = token.start_byte - node.start_byte
        spelled = text[:at] + wrong + text[at + len(token.type) :]
        facts = {"operator": token.type, "wrong": wrong, "expression": text, "wrong_expression": spelled}
        yield Change(token.start_byte, token.end_byte, wrong, facts)


@operator("swap_operands", Family.BEHAVIOUR)
def swap_operands(design: Design, rng: Random) -> Iterator[Change]:
    """The operands of a subtraction or a shift, or two neighbours of a concatenation, in the wrong order."""
    tree = design.tree
    for _, left, token, right in binary(design, "-", "<<", ">>"):
        one, other = tree.text(left), tree.text(right)
        if one != other and len(one) + len(other) < 80:
            middle = tree.slice(left.end_byte, right.start_byte)
            facts = {"what": "subtraction" if token.type == "-" else "shift", "first": one, "second": other}
            yield Change(left.start_byte, right.end_byte, other + middle + one, facts)
    for node in tree.of("concatenation"):
        parts = [child for child in node.children if child.type == "expression"]
        for first, second in pairwise(parts):
            one, other = tree.text(first), tree.text(second)
            if one != other and len(one) + len(other) < 80:
                middle = tree.slice(first.end_byte, second.start_byte)
                facts = {"what": "concatenation", "first": one, "second": other}
                yield Change(first.start_byte, second.end_byte, other + middle + one, facts)


@operator("invert_condition", Family.BEHAVIOUR)
def invert_condition(design: Design, rng: Random) -> Iterator[Change]:
    """A condition that is the opposite of what it should be."""
    tree = design.tree
    for node in tree.of("cond_predicate"):
        text = tree.text(node)
        if len(text) > 100 or "\n" in text or in_fixed_place(node):
            continue
        facts = {"condition": text}
        if text[0] in "!~" and text[1:].isidentifier():
            yield Change(node.start_byte, node.start_byte + 1, "", {**facts, "wrong": text[1:]})
        elif text.isidentifier():
            yield Change(node.start_byte, node.start_byte, "!", {**facts, "wrong": f"!{text}"})
        else:
            yield Change(node.start_byte, node.end_byte, f"!({text})", {**facts, "wrong": f"!({text})"})


@operator("drop_negation", Family.BEHAVIOUR)
def drop_negation(design: Design, rng: Random) -> Iterator[Change]:
    """An expression without its negation."""
    tree = design.tree
    for node in tree.of("unary_operator"):
        parent = node.parent
        if tree.text(node) not in ("!", "~") or parent is None or enclosing(node, "case_item_expression") is not None:
            continue
        text = tree.text(parent)
        predicate = enclosing(node, "cond_predicate")
        if len(text) <= 60 and (predicate is None or tree.text(predicate) != text):
            yield Change(node.start_byte, node.end_byte, "", {"expression": text, "wrong": text[1:].lstrip()})


@operator("swap_choices", Family.BEHAVIOUR)
def swap_choices(design: Design, rng: Random) -> Iterator[Change]:
    """The two values of `?:` the wrong way round."""
    tree = design.tree
    for node in tree.of("conditional_expression"):
        if "\n" in tree.text(node) or len(tree.text(node)) > 120:
            continue
        parts = [child for child in node.children if child.is_named]
        condition, first, second = parts[0], parts[-2], parts[-1]
        one, other = tree.text(first), tree.text(second)
        if len(parts) == 3 and one != other:
            middle = tree.slice(first.end_byte, second.start_byte)
            facts = {"condition": tree.text(condition), "first": one, "second": other}
            yield Change(first.start_byte, second.end_byte, other + middle + one, facts)
