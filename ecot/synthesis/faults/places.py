"""Where faults may go: statements, expressions and words, found on the syntax tree."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tree_sitter import Node

from ecot.synthesis.verilog.design import Design, Process
from ecot.synthesis.verilog.syntax import SyntaxTree, ancestors, enclosing

EXPRESSIONS = ("expression", "constant_expression")
FIXED_PLACES = frozenset(
    {"packed_dimension", "unpacked_dimension", "constant_range", "indexed_range", "loop_generate_construct"}
)
"""Around an expression, these make it part of a size or of a loop header, where other operators work."""


def binary(design: Design, *operators: str) -> Iterator[tuple[Node, Node, Node, Node]]:
    """(expression, left, operator token, right) of binary expressions outside ranges and loop headers."""
    for node in design.tree.of(*EXPRESSIONS):
        token = node.child_by_field_name("operator")
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if token is None or left is None or right is None or token.type not in operators:
            continue
        if not in_fixed_place(node):
            yield node, left, token, right


def in_fixed_place(node: Node) -> bool:
    """Whether a node is part of a range, a dimension or a loop header."""
    inner = node
    for outer in ancestors(node):
        if outer.type in FIXED_PLACES and inner.type != "generate_block":
            return True
        if outer.type == "loop_statement" and inner.type != "statement_or_null":
            return True
        inner = outer
    return False


def statements(design: Design, *assignments: str) -> Iterator[tuple[Node, Node]]:
    """(removable statement, assignment) of procedural assignments that stand in a list of at least two."""
    for node in design.tree.of(*assignments):
        statement = enclosing(node, "statement_or_null")
        block = statement.parent if statement is not None else None
        if statement is None or block is None or block.type != "seq_block":
            continue
        if sum(child.type == "statement_or_null" for child in block.children) >= 2 and same(
            enclosing(node, "statement_item"), _inner_item(design.tree, statement)
        ):
            yield statement, node


def _inner_item(tree: SyntaxTree, statement: Node) -> Node | None:
    """The statement_item that a statement_or_null directly holds."""
    found = tree.below(statement, "statement_item")
    return found[0] if found else None


def same(one: Node | None, other: Node | None) -> bool:
    """Whether both are the same node."""
    return one is not None and other is not None and one.id == other.id


def removal(tree: SyntaxTree, node: Node) -> tuple[int, int]:
    """The span to delete for a node: its whole lines if nothing else stands on them."""
    first, _ = tree.line_span(node.start_byte)
    _, last = tree.line_span(max(node.start_byte, node.end_byte - 1))
    before = tree.slice(first, node.start_byte)
    after = tree.slice(node.end_byte, last)
    if not before.strip() and (not after.strip() or after.strip().startswith("//")):
        return first, last
    return node.start_byte, node.end_byte


def process_of(design: Design, node: Node) -> Process | None:
    """The always block around a node."""
    return next((p for p in design.processes if p.start <= node.start_byte and node.end_byte <= p.end), None)


_RESETS = frozenset({"rst", "rstn", "nrst", "arst", "arstn", "reset", "resetn", "areset", "aresetn"})
_CLOCKS = frozenset({"clk", "clock", "aclk", "wclk", "rclk", "sclk"})


def is_reset(name: str) -> bool:
    """Whether a signal is a reset by its name, as engineers name them (`rst_n`, but not `lsb_first`)."""
    return not _RESETS.isdisjoint(name.lower().split("_"))


def is_clock(name: str) -> bool:
    """Whether a signal is a clock by its name."""
    return not _CLOCKS.isdisjoint(name.lower().split("_"))


def under_reset(design: Design, node: Node) -> bool:
    """Whether a node stands in the branch that a reset condition selects."""
    inner = node
    for outer in ancestors(node):
        if outer.type == "conditional_statement":
            predicate = next(child for child in outer.children if child.type == "cond_predicate")
            branch = next((child for child in outer.children if child.type == "statement_or_null"), None)
            if any(is_reset(name) for name in design.identifiers(predicate)) and same(branch, inner):
                return True
        inner = outer
    return False


def misspell(word: str, taken: set[str] | frozenset[str], rng: Random) -> str:
    """A typing mistake in a word that does not give one of the names in `taken`."""
    options: list[str] = []
    for index in range(len(word) - 1):
        options.append(word[:index] + word[index + 1] + word[index] + word[index + 2 :])
    if len(word) > 2:
        options += [word[:index] + word[index + 1 :] for index in range(1, len(word))]
    options += [word[: index + 1] + word[index:] for index in range(1, len(word)) if word[index] != "_"]
    if "_" in word.strip("_"):
        options += [word.replace("_", "", 1)] * 3
    if len(word) < 3:
        options += [word + word[-1], word + "_in", word + "0"]
    fresh = [option for option in options if option not in taken and option != word and not option[0].isdigit()]
    return rng.choice(fresh) if fresh else next(new for n in range(1, 99) if (new := f"{word}_{n}") not in taken)
