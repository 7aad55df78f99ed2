"""Faults in branches, case arms, resets and states."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tree_sitter import Node

from ecot.synthesis.faults.edit import Change, Family, operator
from ecot.synthesis.faults.places import process_of, removal, statements, under_reset
from ecot.synthesis.verilog.design import Design, Role
from ecot.synthesis.verilog.syntax import enclosing

MAX_BRANCH_LINES = 12
"""Longer branches are not swapped, and longer case arms not dropped: nobody forgets that much."""


@operator("swap_branches", Family.BEHAVIOUR)
def swap_branches(design: Design, rng: Random) -> Iterator[Change]:
    """The two branches of an `if` the wrong way round."""
    tree = design.tree
    for node in tree.of("conditional_statement"):
        branches = [child for child in node.children if child.type == "statement_or_null"]
        tokens = [child.type for child in node.children if not child.is_named]
        if len(branches) != 2 or tokens.count("if") != 1 or design.tree.below(branches[1], "conditional_statement")[:1]:
            continue
        first, second = branches
        one, other = tree.text(first), tree.text(second)
        lines = tree.line(second.end_byte) - tree.line(first.start_byte)
        if one == other or lines > MAX_BRANCH_LINES:
            continue
        middle = tree.slice(first.end_byte, second.start_byte)
        condition = next(child for child in node.children if child.type == "cond_predicate")
        facts = {"condition": tree.text(condition), "first": _brief(one), "second": _brief(other)}
        yield Change(first.start_byte, second.end_byte, other + middle + one, facts)


def _brief(statement: str) -> str:
    """The assignments of a short branch on one line."""
    inner = statement.removeprefix("begin").removesuffix("end")
    return " ".join(inner.split())


@operator("drop_case_arm", Family.BEHAVIOUR)
def drop_case_arm(design: Design, rng: Random) -> Iterator[Change]:
    """A `case` without one of its arms."""
    tree = design.tree
    for node in tree.of("case_item"):
        parent = node.parent
        arms = [c for c in parent.children if c.type == "case_item"] if parent is not None else []
        if len(arms) < 3 or tree.text(node).count("\n") >= MAX_BRANCH_LINES or parent is None:
            continue
        choice = tree.slice(node.start_byte, next(c for c in node.children if c.type == ":").start_byte).strip()
        subject = tree.text(next(c for c in parent.children if c.type == "case_expression"))
        start, end = removal(tree, node)
        arm = "the remaining values (`default`)" if choice == "default" else f"`{choice}`"
        facts = {"arm": arm, "subject": subject}
        yield Change(start, end, "", facts, anchors={"case_line": parent.start_byte})


def _removed(design: Design, statement: Node, assignment: Node, block: str) -> Change:
    start, end = removal(design.tree, statement)
    names = design.written(assignment)
    facts = {"name": ", ".join(sorted(names)), "statement": design.tree.text(statement), "block": block}
    return Change(start, end, "", facts, names)


@operator("drop_reset", Family.BEHAVIOUR)
def drop_reset(design: Design, rng: Random) -> Iterator[Change]:
    """A register that its reset does not set."""
    for statement, assignment in statements(design, "nonblocking_assignment"):
        if under_reset(design, statement):
            yield _removed(design, statement, assignment, "reset branch")


@operator("drop_update", Family.BEHAVIOUR)
def drop_update(design: Design, rng: Random) -> Iterator[Change]:
    """A register update that is missing outside of the reset."""
    for statement, assignment in statements(design, "nonblocking_assignment"):
        if not under_reset(design, statement):
            yield _removed(design, statement, assignment, "clocked block")


@operator("drop_default", Family.BEHAVIOUR)
def drop_default(design: Design, rng: Random) -> Iterator[Change]:
    """A combinational block without the assignment that gives a signal its value in every other case."""
    for statement, assignment in statements(design, "blocking_assignment"):
        process = process_of(design, statement)
        if process is not None and not process.clocked and enclosing(statement, "loop_statement") is None:
            yield _removed(design, statement, assignment, "combinational block")


@operator("wrong_state", Family.BEHAVIOUR)
def wrong_state(design: Design, rng: Random) -> Iterator[Change]:
    """A state or constant assigned, or compared with, that is another one."""
    states = design.having(Role.STATE) or [i for i in design.having(Role.CONSTANT) if i.width]
    table = {item.name: item for item in states}
    if len(table) < 2:
        return
    for node in design.tree.of("hierarchical_identifier"):
        name = design.tree.text(node)
        if name not in table or enclosing(node, "case_item_expression") is not None:
            continue
        others = [i.name for i in states if i.name != name and i.width == table[name].width]
        if others:
            wrong = rng.choice(others)
            facts = {"name": name, "wrong": wrong}
            yield Change(node.start_byte, node.end_byte, wrong, facts, frozenset({name, wrong}))
