"""Faults that break the grammar."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from ecot.synthesis.faults.edit import Change, Family, operator
from ecot.synthesis.faults.places import in_fixed_place, misspell, removal
from ecot.synthesis.verilog.design import Design
from ecot.synthesis.verilog.syntax import enclosing

KEYWORDS = (
    "begin",
    "end",
    "else",
    "case",
    "endcase",
    "always",
    "always_ff",
    "always_comb",
    "assign",
    "posedge",
    "negedge",
    "reg",
    "logic",
    "wire",
    "input",
    "output",
    "localparam",
    "endmodule",
    "default",
)
_ENDED = {
    "statement_item": "statement",
    "continuous_assign": "continuous assignment",
    "net_declaration": "declaration",
    "data_declaration": "declaration",
    "local_parameter_declaration": "declaration",
}


@operator("drop_semicolon", Family.SYNTAX)
def drop_semicolon(design: Design, rng: Random) -> Iterator[Change]:
    """A statement or declaration without its semicolon."""
    for token in design.tree.of(";"):
        parent = token.parent
        if parent is None or parent.type not in _ENDED:
            continue
        yield Change(token.start_byte, token.end_byte, "", {"what": _ENDED[parent.type]})


@operator("drop_end", Family.SYNTAX)
def drop_end(design: Design, rng: Random) -> Iterator[Change]:
    """A block without its `end` or `endcase`."""
    tree = design.tree
    for token in tree.of("end", "endcase"):
        opener = {"end": "begin", "endcase": "case"}[token.type]
        parent = token.parent
        if parent is None or parent.type not in ("seq_block", "case_statement"):
            continue
        start, end = removal(tree, token)
        facts = {"keyword": token.type, "opener": opener}
        yield Change(start, end, "", facts, anchors={"opener_line": parent.start_byte})


@operator("misspell_keyword", Family.SYNTAX)
def misspell_keyword(design: Design, rng: Random) -> Iterator[Change]:
    """A keyword with a typing mistake."""
    taken = {*KEYWORDS, *design.names, "edge", "real", "cas", "do", "if"}
    for token in design.tree.of(*KEYWORDS):
        if token.child_count == 0:
            wrong = misspell(token.type, taken, rng)
            facts = {"keyword": token.type, "wrong": wrong}
            yield Change(token.start_byte, token.end_byte, wrong, facts, frozenset({wrong}))


@operator("drop_parenthesis", Family.SYNTAX)
def drop_parenthesis(design: Design, rng: Random) -> Iterator[Change]:
    """An opened parenthesis that is never closed."""
    for token in design.tree.of(")"):
        parent = token.parent
        if parent is not None and parent.type in ("conditional_statement", "primary", "case_statement"):
            facts = {"what": {"primary": "expression", "conditional_statement": "condition"}.get(parent.type, "case")}
            yield Change(token.start_byte, token.end_byte, "", facts)


@operator("drop_comma", Family.SYNTAX)
def drop_comma(design: Design, rng: Random) -> Iterator[Change]:
    """A list without one of its commas."""
    places = {
        "list_of_port_declarations": "port list",
        "concatenation": "concatenation",
        "list_of_variable_decl_assignments": "declaration",
        "list_of_port_connections": "connection list",
    }
    for token in design.tree.of(","):
        parent = token.parent
        if parent is not None and parent.type in places:
            yield Change(token.start_byte, token.end_byte, "", {"what": places[parent.type]})


@operator("single_equals", Family.SYNTAX)
def single_equals(design: Design, rng: Random) -> Iterator[Change]:
    """`=` where a comparison with `==` is meant."""
    for node in design.tree.of("expression"):
        token = node.child_by_field_name("operator")
        if token is not None and token.type == "==" and enclosing(node, "cond_predicate") and not in_fixed_place(node):
            yield Change(token.start_byte, token.end_byte, "=", {"expression": design.tree.text(node)})


@operator("bad_literal", Family.SYNTAX)
def bad_literal(design: Design, rng: Random) -> Iterator[Change]:
    """A based literal without its apostrophe, or with a digit that its base does not have."""
    tree = design.tree
    for node in tree.of("binary_number", "hex_number", "decimal_number"):
        size, base = node.child_by_field_name("size"), node.child_by_field_name("base")
        value = node.child_by_field_name("value")
        if size is None or base is None or value is None:
            continue
        text, digits = tree.text(node), tree.text(value)
        letter = tree.text(base)[-1].lower()
        choices = [(text.replace("'", "", 1), "the apostrophe before the base is missing")]
        if letter == "b":
            choices.append((text[:-1] + "2", "2 is not a binary digit"))
        if letter == "h" and len(digits) > 1:
            choices.append((text[:-1] + "g", "g is not a hexadecimal digit"))
        wrong, problem = rng.choice(choices)
        yield Change(node.start_byte, node.end_byte, wrong, {"problem": problem, "literal": text})


@operator("drop_assign", Family.SYNTAX)
def drop_assign(design: Design, rng: Random) -> Iterator[Change]:
    """A continuous assignment without the keyword `assign`."""
    for node in design.tree.of("continuous_assign"):
        token = node.children[0]
        names = design.tree.below(node, "net_lvalue", "variable_lvalue")
        if token.type == "assign" and names:
            target = design.tree.text(names[0])
            yield Change(token.start_byte, names[0].start_byte, "", {"target": target}, frozenset({target}))
