"""Faults in sensitivity lists and in the kind of assignment."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tree_sitter import Node

from ecot.synthesis.faults.edit import Change, Family, operator
from ecot.synthesis.faults.places import process_of
from ecot.synthesis.verilog.design import Design, Role


@operator("blocking_assignment", Family.BEHAVIOUR)
def blocking_assignment(design: Design, rng: Random) -> Iterator[Change]:
    """A blocking assignment in a clocked block, to a register that a later statement of the block reads."""
    tree = design.tree
    for node in tree.of("nonblocking_assignment"):
        process = process_of(design, node)
        names = design.written(node)
        if process is None or not process.clocked:
            continue
        later = [d for d in design.drivers if node.end_byte <= d.start and d.end <= process.end]
        readers = [d for d in later if names & d.reads]
        token = next((child for child in node.children if child.type == "<="), None)
        if readers and token is not None:
            facts = {"name": ", ".join(sorted(names))}
            anchors = {"reader_line": readers[0].start}
            yield Change(token.start_byte, token.end_byte, "=", facts, names, anchors)


@operator("wrong_edge", Family.BEHAVIOUR)
def wrong_edge(design: Design, rng: Random) -> Iterator[Change]:
    """A clock or reset with the wrong edge."""
    tree = design.tree
    for node in tree.of("edge_identifier"):
        edge = tree.text(node)
        if edge not in ("posedge", "negedge") or node.parent is None:
            continue
        wrong = "negedge" if edge == "posedge" else "posedge"
        names = design.identifiers(node.parent)
        facts = {"edge": edge, "wrong": wrong, "signal": ", ".join(sorted(names))}
        yield Change(node.start_byte, node.end_byte, wrong, facts, names)


@operator("drop_event", Family.BEHAVIOUR)
def drop_event(design: Design, rng: Random) -> Iterator[Change]:
    """A clocked block that does not react to its asynchronous reset."""
    tree = design.tree
    for node in tree.of("event_expression"):
        parts = [child for child in node.children if child.type == "event_expression"]
        if len(parts) == 2 and design.tree.below(parts[1], "edge_identifier"):
            text = tree.text(parts[1])
            names = design.identifiers(parts[1])
            facts = {"event": text, "signal": ", ".join(sorted(names))}
            yield Change(parts[0].end_byte, parts[1].end_byte, "", facts, names)


@operator("partial_sensitivity", Family.BEHAVIOUR)
def partial_sensitivity(design: Design, rng: Random) -> Iterator[Change]:
    """A combinational block with a hand-written sensitivity list that lacks a signal."""
    for node in design.tree.of("always_construct"):
        start, end, lead = _wake_up(design, node)
        if end == start:
            continue
        inside = [d for d in design.drivers if node.start_byte <= d.start and d.end <= node.end_byte]
        reads = {n for d in inside for n in d.reads} - {n for d in inside for n in d.targets}
        signals = [n for n in sorted(reads) if design.names[n].role in (Role.INPUT, Role.SIGNAL, Role.OUTPUT)]
        if len(signals) < 2:
            continue
        missing = rng.choice(signals)
        listed = " or ".join(name for name in signals if name != missing)
        facts = {"signal": missing, "listed": listed}
        yield Change(start, end, f"{lead}@({listed})", facts, frozenset({missing}))


def _wake_up(design: Design, always: Node) -> tuple[int, int, str]:
    """The span of `always_comb` or of `@(*)`, and what has to stand before a list in its place."""
    keyword = always.children[0]
    if design.tree.text(keyword) == "always_comb":
        return keyword.start_byte, keyword.end_byte, "always "
    control = design.tree.below(always, "event_control")[:1]
    if control and "*" in design.tree.text(control[0]):
        return control[0].start_byte, control[0].end_byte, ""
    return 0, 0, ""
