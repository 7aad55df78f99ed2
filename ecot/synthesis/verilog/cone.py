"""Which signals a statement can reach: the cone, computed from the syntax tree."""

from __future__ import annotations

from collections.abc import Iterable

from tree_sitter import Node

from ecot.synthesis.verilog.design import ASSIGNMENTS, Design, Driver
from ecot.synthesis.verilog.syntax import ancestors

_DECLARATIONS = (
    "net_decl_assignment",
    "variable_decl_assignment",
    "param_assignment",
    "enum_name_declaration",
    "ansi_port_declaration",
    "data_declaration",
    "net_declaration",
    "local_parameter_declaration",
    "parameter_declaration",
    "genvar_declaration",
)
_STATEMENTS = (
    "conditional_statement",
    "case_item",
    "case_statement",
    "loop_statement",
    "always_construct",
    "hierarchical_instance",
    "continuous_assign",
    "function_declaration",
)


def affected(design: Design, start: int, end: int) -> frozenset[str]:
    """Names whose value an edit of this span can change directly: what the statements in or around it write.

    The nearest construct that writes or declares something counts, so a change in a condition affects what the
    statement under it assigns, and a change in a declaration affects the declared names.
    """
    node = design.tree.covering(start, end)
    for candidate in (node, *ancestors(node)):
        names = _written_by(design, candidate)
        if names:
            return names
    return frozenset()


def _written_by(design: Design, node: Node) -> frozenset[str]:
    if node.type in ASSIGNMENTS:
        return design.written(node)
    if node.type in _DECLARATIONS:
        first, last = node.start_byte, node.end_byte
        declared = {item.name for item in design.names.values() if first <= item.start < last}
        return frozenset(declared) | design.targets_below(node)
    if node.type in _STATEMENTS or node.type in ("seq_block", "statement_or_null", "statement"):
        return design.targets_below(node)
    return frozenset()


def fan_in(design: Design, names: Iterable[str]) -> dict[str, int]:
    """All that these names depend on, themselves included, with the number of steps to the nearest of them."""
    return _spread(names, [(driver.targets, driver.reads) for driver in design.drivers])


def fan_out(design: Design, names: Iterable[str]) -> dict[str, int]:
    """All that depends on these names, themselves included, with the number of steps."""
    return _spread(names, [(driver.reads, driver.targets) for driver in design.drivers])


def _spread(names: Iterable[str], edges: list[tuple[frozenset[str], frozenset[str]]]) -> dict[str, int]:
    distance = dict.fromkeys(names, 0)
    frontier = set(distance)
    steps = 0
    while frontier:
        steps += 1
        reached = {name for heads, tails in edges if heads & frontier for name in tails}
        frontier = reached - distance.keys()
        distance.update(dict.fromkeys(sorted(frontier), steps))
    return distance


def path_between(design: Design, symptom: str, causes: Iterable[str]) -> list[Driver]:
    """Drivers that lead from a symptom down to the nearest of `causes`, in that order; empty if none lead there.

    The first driver writes `symptom`; the last one writes one of `causes`. A symptom that is itself a cause gives
    the empty list.
    """
    wanted = set(causes)
    came_from: dict[str, tuple[str, Driver]] = {}
    frontier, seen = [symptom], {symptom}
    while frontier:
        current = frontier.pop(0)
        if current in wanted:
            return _trace(current, symptom, came_from)
        for driver in design.drivers:
            if current not in driver.targets:
                continue
            for name in sorted(driver.reads - seen):
                seen.add(name)
                came_from[name] = (current, driver)
                frontier.append(name)
    return []


def _trace(found: str, symptom: str, came_from: dict[str, tuple[str, Driver]]) -> list[Driver]:
    path: list[Driver] = []
    while found != symptom:
        found, driver = came_from[found]
        path.append(driver)
    return path[::-1]
