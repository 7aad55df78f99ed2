"""What a design declares and what drives what, read off the syntax tree."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

from tree_sitter import Node

from ecot.synthesis.verilog.syntax import SyntaxTree, ancestors, parse

ASSIGNMENTS = (
    "operator_assignment",
    "blocking_assignment",
    "nonblocking_assignment",
    "net_assignment",
    "variable_assignment",
    "inc_or_dec_expression",
)
LVALUES = ("variable_lvalue", "net_lvalue")


class Role(StrEnum):
    """What a declared name stands for."""

    INPUT = "input"
    OUTPUT = "output"
    INOUT = "inout"
    PARAMETER = "parameter"
    CONSTANT = "constant"
    """A local parameter."""
    STATE = "state"
    """A member of an enumeration."""
    SIGNAL = "signal"
    """An internal net or variable."""
    LOCAL = "local"
    """A variable of a function, a block or a loop; also a genvar."""
    FUNCTION = "function"
    OTHER = "other"
    """A type, an instance or a module."""


PORTS = (Role.INPUT, Role.OUTPUT, Role.INOUT)


@dataclass(frozen=True)
class Declared:
    """A declared name."""

    name: str
    role: Role
    width: str
    """The packed range as written (`[7:0]`), or the empty string."""
    start: int
    """Byte offset of the name in its declaration."""


class DriverKind(StrEnum):
    """How a value is given."""

    ASSIGN = "assign"
    CLOCKED = "clocked"
    COMBINATIONAL = "combinational"
    INSTANCE = "instance"
    FUNCTION = "function"
    CONSTANT = "constant"


@dataclass(frozen=True)
class Driver:
    """One statement that gives values: which names it writes, and all that its effect depends on."""

    targets: frozenset[str]
    reads: frozenset[str]
    """Names read by the right-hand side, by indices and by the conditions around the statement."""
    start: int
    end: int
    kind: DriverKind


@dataclass(frozen=True)
class Process:
    """An always block."""

    start: int
    end: int
    clocked: bool
    events: tuple[tuple[str, str], ...]
    """(edge, signal) of the sensitivity list; the edge may be empty; `*` gives no events."""
    targets: frozenset[str]


@dataclass(frozen=True)
class Design:
    """The declarations and drivers of a source text. Several modules share one name space, which only widens cones."""

    tree: SyntaxTree

    @cached_property
    def names(self) -> dict[str, Declared]:
        """Declared names; the first declaration counts."""
        table: dict[str, Declared] = {}
        for item in _declarations(self.tree):
            table.setdefault(item.name, item)
        return table

    def having(self, *roles: Role) -> list[Declared]:
        """Names of these roles, in the order of declaration."""
        return [item for item in self.names.values() if item.role in roles]

    def identifiers(self, node: Node) -> frozenset[str]:
        """Declared names (modules, types and instances aside) that occur at or below a node."""
        found = {self.tree.text(inner) for inner in self.tree.below(node, "simple_identifier")}
        return frozenset(name for name in found if name in self.names and self.names[name].role is not Role.OTHER)

    @cached_property
    def processes(self) -> list[Process]:
        """The always blocks in reading order."""
        return [self._process(node) for node in self.tree.of("always_construct")]

    @cached_property
    def drivers(self) -> list[Driver]:
        """Every statement that gives a value, in reading order."""
        found: list[Driver] = []
        for node in self.tree.of(*ASSIGNMENTS):
            if node.type == "blocking_assignment" and self.tree.below(node, "operator_assignment"):
                continue
            found.append(self._assignment(node))
        for node in self.tree.of("net_decl_assignment", "variable_decl_assignment", "param_assignment"):
            driver = self._initial_value(node)
            if driver is not None:
                found.append(driver)
        for node in self.tree.of("hierarchical_instance"):
            names = self.identifiers(node)
            found.append(Driver(names, names, node.start_byte, node.end_byte, DriverKind.INSTANCE))
        for node in self.tree.of("function_declaration"):
            found.append(self._function(node))
        return sorted(found, key=lambda driver: (driver.start, driver.end))

    def targets_below(self, node: Node) -> frozenset[str]:
        """Names written by the statements at or below a node."""
        names: set[str] = set()
        for driver in self.drivers:
            if node.start_byte <= driver.start and driver.end <= node.end_byte:
                names |= driver.targets
        return frozenset(names)

    def written(self, node: Node) -> frozenset[str]:
        """Names written by one assignment node (not those used as its indices)."""
        names: set[str] = set()
        for lvalue in [inner for inner in node.children if inner.type in LVALUES]:
            names |= self._lvalue_names(lvalue)
        if node.type == "blocking_assignment" and node.children and node.children[0].type not in LVALUES:
            names |= self.written(node.children[0])
        return frozenset(names)

    def _lvalue_names(self, lvalue: Node) -> set[str]:
        parts = [child for child in lvalue.children if child.type in LVALUES]
        if parts:
            return {name for part in parts for name in self._lvalue_names(part)}
        first = self.tree.below(lvalue, "simple_identifier")[:1]
        return {self.tree.text(first[0])} if first else set()

    def _assignment(self, node: Node) -> Driver:
        reads = set(self.identifiers(node))
        targets = self.written(node)
        for name in targets:
            if sum(self.tree.text(inner) == name for inner in self.tree.below(node, "simple_identifier")) == 1:
                reads.discard(name)
        kind = DriverKind.ASSIGN
        previous = node
        for outer in ancestors(node):
            if outer.type == "conditional_statement":
                reads |= self._names_of(outer, "cond_predicate")
            elif outer.type == "case_statement":
                reads |= self._names_of(outer, "case_expression")
            elif outer.type == "case_item":
                reads |= self._names_of(outer, "case_item_expression")
            elif outer.type == "loop_statement" and previous.type == "statement_or_null":
                header = [child for child in outer.children if child.type != "statement_or_null"]
                reads |= {name for child in header for name in self.identifiers(child)}
            elif outer.type == "always_construct":
                kind = DriverKind.CLOCKED if _events(self.tree, outer)[0] else DriverKind.COMBINATIONAL
            elif outer.type == "function_declaration":
                kind = DriverKind.FUNCTION
            previous = outer
        return Driver(targets, frozenset(reads), node.start_byte, node.end_byte, kind)

    def _names_of(self, node: Node, kind: str) -> set[str]:
        return {name for child in node.children if child.type == kind for name in self.identifiers(child)}

    def _initial_value(self, node: Node) -> Driver | None:
        if not any(child.type == "=" for child in node.children):
            return None
        name = self.tree.text(node.children[0])
        reads = frozenset(n for child in node.children[1:] for n in self.identifiers(child))
        kind = DriverKind.CONSTANT if node.type == "param_assignment" else DriverKind.ASSIGN
        return Driver(frozenset({name}), reads, node.start_byte, node.end_byte, kind)

    def _function(self, node: Node) -> Driver:
        name = self.tree.below(node, "function_body_declaration")[0].child_by_field_name("name")
        called = self.tree.text(name) if name is not None else ""
        return Driver(frozenset({called}), self.identifiers(node), node.start_byte, node.end_byte, DriverKind.FUNCTION)

    def _process(self, node: Node) -> Process:
        clocked, events = _events(self.tree, node)
        return Process(node.start_byte, node.end_byte, clocked, events, self.targets_below(node))


@lru_cache(maxsize=512)
def read_design(code: str) -> Design:
    """Parse a source text and read its declarations and drivers (lazily)."""
    return Design(parse(code))


def _events(tree: SyntaxTree, always: Node) -> tuple[bool, tuple[tuple[str, str], ...]]:
    control = tree.below(always, "event_control")[:1]
    if not control:
        return tree.text(always).startswith("always_ff"), ()
    events = []
    for event in tree.below(control[0], "event_expression"):
        if any(child.type == "event_expression" for child in event.children):
            continue
        edges = [tree.text(child) for child in event.children if child.type == "edge_identifier"]
        names = tree.below(event, "simple_identifier")
        events.append((edges[0] if edges else "", tree.text(names[0]) if names else ""))
    return any(edge for edge, _ in events), tuple(events)


def _declarations(tree: SyntaxTree) -> list[Declared]:
    found: list[Declared] = []
    direction, width = Role.INPUT, ""
    for node in tree.of("ansi_port_declaration"):
        directions = tree.below(node, "port_direction")
        if directions:
            direction, width = Role(tree.text(directions[0])), _packed(tree, node)
        name = node.child_by_field_name("port_name")
        if name is not None:
            found.append(Declared(tree.text(name), direction, width, name.start_byte))
    for node in tree.of(*_NAMED):
        name = _own_name(node)
        if name is None:
            continue
        outer = {parent.type for parent in ancestors(node)}
        role = _NAMED[node.type]
        if role is Role.CONSTANT and "parameter_declaration" in outer:
            role = Role.PARAMETER
        if role is Role.SIGNAL and outer & {"function_declaration", "seq_block", "for_initialization"}:
            role = Role.LOCAL
        statement = node.parent.parent if node.parent is not None else None
        packed = _packed(tree, statement) if statement is not None and role is not Role.OTHER else ""
        found.append(Declared(tree.text(name), role, packed, name.start_byte))
    return found


_NAMED = {
    "param_assignment": Role.CONSTANT,
    "net_decl_assignment": Role.SIGNAL,
    "variable_decl_assignment": Role.SIGNAL,
    "enum_name_declaration": Role.STATE,
    "for_variable_declaration": Role.LOCAL,
    "tf_port_item": Role.LOCAL,
    "list_of_genvar_identifiers": Role.LOCAL,
    "type_declaration": Role.OTHER,
    "function_body_declaration": Role.FUNCTION,
    "name_of_instance": Role.OTHER,
    "module_ansi_header": Role.OTHER,
    "module_nonansi_header": Role.OTHER,
}


def _own_name(node: Node) -> Node | None:
    for field in ("name", "type_name", "instance_name"):
        named = node.child_by_field_name(field)
        if named is not None:
            return named
    return next((child for child in node.children if child.type == "simple_identifier"), None)


def _packed(tree: SyntaxTree, declaration: Node) -> str:
    for inner in tree.below(declaration, "packed_dimension"):
        if not any(outer.type == "enum_base_type" for outer in ancestors(inner)):
            return tree.text(inner)
    return ""
