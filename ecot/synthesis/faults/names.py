"""Faults in names, declarations and connections."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tree_sitter import Node

from ecot.synthesis.faults.edit import Change, Family, operator
from ecot.synthesis.faults.places import is_clock, is_reset, misspell, process_of, removal
from ecot.synthesis.verilog.cone import affected, fan_in
from ecot.synthesis.verilog.design import LVALUES, PORTS, Declared, Design, Role
from ecot.synthesis.verilog.syntax import ancestors, enclosing

_VALUES = (*PORTS, Role.SIGNAL, Role.CONSTANT, Role.STATE, Role.PARAMETER)
_SYSTEM_TYPOS = {"$clog2": "$clog", "$signed": "$sign", "$unsigned": "$unsign", "$bits": "$bit"}


def _uses(design: Design) -> Iterator[tuple[Node, Declared]]:
    """Identifiers that use a declared value, in reading order (not their declarations, not port names)."""
    declared_at = {item.start for item in design.names.values()}
    for node in design.tree.of("simple_identifier"):
        item = design.names.get(design.tree.text(node))
        parent = node.parent
        if item is None or item.role not in _VALUES or node.start_byte in declared_at or parent is None:
            continue
        if parent.type in ("hierarchical_identifier", "constant_primary", "net_lvalue"):
            yield node, item


@operator("misspell_use", Family.ELABORATION)
def misspell_use(design: Design, rng: Random) -> Iterator[Change]:
    """A use of a signal, state or parameter under a name that is not declared."""
    for node, item in _uses(design):
        wrong = misspell(item.name, frozenset(design.names), rng)
        facts = {"name": item.name, "wrong": wrong}
        yield Change(node.start_byte, node.end_byte, wrong, facts, frozenset({item.name, wrong}))


@operator("drop_declaration", Family.ELABORATION)
def drop_declaration(design: Design, rng: Random) -> Iterator[Change]:
    """An internal signal that is used but not declared."""
    for node in design.tree.of("data_declaration", "net_declaration"):
        names = design.tree.below(node, "net_decl_assignment", "variable_decl_assignment")
        inside = {outer.type for outer in ancestors(node)}
        if len(names) != 1 or "function_declaration" in inside or any(c.type == "=" for c in names[0].children):
            continue
        name = design.tree.text(names[0].children[0])
        start, end = removal(design.tree, node)
        yield Change(start, end, "", {"name": name, "declaration": design.tree.text(node)}, frozenset({name}))


@operator("rename_port", Family.ELABORATION)
def rename_port(design: Design, rng: Random) -> Iterator[Change]:
    """A port whose name in the header is not the specified one."""
    for item in design.having(*PORTS):
        wrong = misspell(item.name, frozenset(design.names), rng)
        facts = {"name": item.name, "wrong": wrong}
        yield Change(item.start, item.start + len(item.name), wrong, facts, frozenset({item.name, wrong}))


@operator("wire_in_process", Family.ELABORATION)
def wire_in_process(design: Design, rng: Random) -> Iterator[Change]:
    """A signal written in an always block but declared as a net."""
    written = {name for process in design.processes for name in process.targets}
    for node in design.tree.of("ansi_port_declaration", "data_declaration"):
        types = [t for t in design.tree.below(node, "integer_vector_type") if design.tree.text(t) in ("reg", "logic")]
        last = node.end_byte
        names = [i.name for i in design.names.values() if node.start_byte <= i.start < last]
        if not types or len(names) != 1 or names[0] not in written or design.tree.below(node, "type_declaration"):
            continue
        facts = {"name": names[0], "type": design.tree.text(types[0])}
        yield Change(types[0].start_byte, types[0].end_byte, "wire", facts, frozenset(names))


@operator("misspell_system_function", Family.ELABORATION)
def misspell_system_function(design: Design, rng: Random) -> Iterator[Change]:
    """A system function that does not exist."""
    for node in design.tree.of("system_tf_identifier"):
        name = design.tree.text(node)
        if name in _SYSTEM_TYPOS:
            wrong = _SYSTEM_TYPOS[name]
            yield Change(
                node.start_byte, node.end_byte, wrong, {"name": name, "wrong": wrong}, frozenset({name, wrong})
            )


@operator("rename_connection", Family.ELABORATION)
def rename_connection(design: Design, rng: Random) -> Iterator[Change]:
    """An instance connected by a port name that the module does not have."""
    for node in design.tree.of("named_port_connection"):
        port = node.child_by_field_name("port_name")
        if port is not None:
            name = design.tree.text(port)
            wrong = misspell(name, frozenset(design.names), rng)
            facts = {"name": name, "wrong": wrong}
            yield Change(port.start_byte, port.end_byte, wrong, facts, frozenset({name, wrong}))


@operator("drop_connection", Family.BEHAVIOUR)
def drop_connection(design: Design, rng: Random) -> Iterator[Change]:
    """An instance with one of its ports left open."""
    for node in design.tree.of("named_port_connection"):
        inner, port = node.child_by_field_name("connection"), node.child_by_field_name("port_name")
        if inner is not None and port is not None:
            facts = {"port": design.tree.text(port), "signal": design.tree.text(inner)}
            yield Change(inner.start_byte, inner.end_byte, "", facts, design.identifiers(inner))


@operator("wrong_source", Family.BEHAVIOUR)
def wrong_source(design: Design, rng: Random) -> Iterator[Change]:
    """A value read from another signal of the same width."""
    items = [i for i in design.having(*PORTS, Role.SIGNAL) if not is_clock(i.name) and not is_reset(i.name)]
    for node, item in _uses(design):
        if item not in items or enclosing(node, *LVALUES, "event_control", "hierarchical_instance") is not None:
            continue
        others = [i.name for i in items if i.width == item.width and i.name != item.name]
        written = affected(design, node.start_byte, node.end_byte)
        others = [name for name in others if not written & fan_in(design, [name]).keys()]
        if others:
            wrong = rng.choice(others)
            facts = {"name": item.name, "wrong": wrong}
            yield Change(node.start_byte, node.end_byte, wrong, facts, frozenset({item.name, wrong}))


@operator("wrong_target", Family.BEHAVIOUR)
def wrong_target(design: Design, rng: Random) -> Iterator[Change]:
    """A value assigned to another register of the same block and width."""
    for node in design.tree.of("variable_lvalue"):
        names = design.tree.below(node, "simple_identifier")
        process = process_of(design, node)
        if process is None or not names or design.tree.below(node, "variable_lvalue")[1:]:
            continue
        item = design.names.get(design.tree.text(names[0]))
        if item is None or item.role not in (Role.OUTPUT, Role.SIGNAL):
            continue
        others = [n for n in sorted(process.targets - {item.name}) if n in design.names]
        others = [n for n in others if design.names[n].width == item.width and design.names[n].role is not Role.LOCAL]
        if others:
            wrong = rng.choice(others)
            facts = {"name": item.name, "wrong": wrong}
            yield Change(names[0].start_byte, names[0].end_byte, wrong, facts, frozenset({item.name, wrong}))
