"""Spans, declarations, drivers and cones, against what a reader sees in the text."""

import pytest

from ecot.synthesis.verilog.cone import affected, fan_in, fan_out, path_between
from ecot.synthesis.verilog.design import DriverKind, Role, read_design
from ecot.synthesis.verilog.syntax import ancestors, enclosing, parse


def test_every_shipped_reference_parses_without_an_error(tasks):
    assert [task.id for task in tasks.values() if parse(task.reference).has_errors] == []


def test_lines_and_slices_are_those_of_the_text():
    tree = parse("// é\nmodule m;\n  wire a;\nendmodule\n")
    (name,) = [node for node in tree.of("simple_identifier") if tree.text(node) == "a"]
    assert tree.line(name.start_byte) == 3
    assert tree.line_text(3) == "wire a;"
    assert tree.line_text(99) == ""
    start, end = tree.line_span(name.start_byte)
    assert tree.slice(start, end) == "  wire a;\n"


def test_nodes_below_are_those_of_the_subtree_in_reading_order(counter):
    tree = parse(counter)
    for outer in tree.of("always_construct", "conditional_statement", "expression"):
        expected = [
            node
            for node in tree.nodes
            if node.type == "simple_identifier" and (node == outer or outer in list(ancestors(node)))
        ]
        assert tree.below(outer, "simple_identifier") == expected


def test_enclosing_finds_the_nearest(counter):
    tree = parse(counter)
    token = tree.of("<=")[0]
    assert tree.text(enclosing(token, "nonblocking_assignment")) == "count <= 4'd0"
    assert enclosing(token, "function_declaration") is None


def test_declared_names_have_their_roles_and_ranges(counter):
    names = {item.name: (item.role, item.width) for item in read_design(counter).names.values()}
    assert names == {
        "counter": (Role.OTHER, ""),
        "WIDTH": (Role.PARAMETER, ""),
        "clk": (Role.INPUT, ""),
        "rst": (Role.INPUT, ""),
        "enable": (Role.INPUT, ""),
        "count": (Role.OUTPUT, "[WIDTH-1:0]"),
        "full": (Role.OUTPUT, ""),
        "odd": (Role.OUTPUT, ""),
        "LAST": (Role.CONSTANT, "[3:0]"),
        "following": (Role.SIGNAL, "[WIDTH-1:0]"),
    }


def test_states_functions_and_locals_are_told_apart():
    design = read_design(
        "module m(input logic [1:0] a, output logic [1:0] y);\n"
        "  typedef enum logic [1:0] {IDLE, RUN = 2'd2} state_t;\n"
        "  state_t state;\n"
        "  function automatic logic [1:0] twist(input logic [1:0] x);\n"
        "    logic t; t = x[0]; return {t, x[1]};\n"
        "  endfunction\n"
        "  genvar g;\n"
        "  assign y = twist(a);\n"
        "endmodule\n"
    )
    roles = {item.name: item.role for item in design.names.values()}
    assert roles["IDLE"] == roles["RUN"] == Role.STATE
    assert roles["twist"] is Role.FUNCTION
    assert roles["x"] == roles["t"] == roles["g"] == Role.LOCAL
    assert roles["state"] is Role.SIGNAL
    assert "x" in fan_in(design, ["y"])


def test_drivers_read_what_their_right_sides_and_conditions_read(counter):
    design = read_design(counter)
    drivers = [
        (design.tree.line(d.start), d.kind, set(d.targets), set(d.reads))
        for d in design.drivers
        if d.kind is not DriverKind.CONSTANT
    ]
    assert drivers == [
        (14, DriverKind.ASSIGN, {"full"}, {"count", "LAST"}),
        (15, DriverKind.ASSIGN, {"odd"}, {"count"}),
        (18, DriverKind.COMBINATIONAL, {"following"}, {"count"}),
        (20, DriverKind.COMBINATIONAL, {"following"}, {"full", "count", "enable"}),
        (26, DriverKind.CLOCKED, {"count"}, {"rst"}),
        (28, DriverKind.CLOCKED, {"count"}, {"following", "rst"}),
    ]


def test_processes_know_their_events():
    design = read_design(
        "module m(input c, r, a, b, output reg q, p);\n"
        "always @(posedge c or negedge r) if (!r) q <= 0; else q <= a;\n"
        "always @(a or b) p = a & b;\nendmodule\n"
    )
    first, second = design.processes
    assert (first.clocked, first.events) == (True, (("posedge", "c"), ("negedge", "r")))
    assert (second.clocked, second.events) == (False, (("", "a"), ("", "b")))
    assert (first.targets, second.targets) == ({"q"}, {"p"})


def test_an_index_is_read_and_a_target_that_is_also_read_stays_a_source():
    design = read_design(
        "module m(input [1:0] i, input d, output reg [3:0] q, output reg [3:0] n);\n"
        "always @* begin q[i] = d; n = n + 1; end\nendmodule\n"
    )
    one, other = design.drivers
    assert (one.targets, one.reads) == ({"q"}, {"i", "d"})
    assert (other.targets, other.reads) == ({"n"}, {"n"})


def test_cones_count_the_steps(counter):
    design = read_design(counter)
    assert fan_in(design, ["odd"]) == {
        "odd": 0,
        "count": 1,
        "following": 2,
        "rst": 2,
        "full": 3,
        "enable": 3,
        "LAST": 4,
    }
    assert fan_out(design, ["enable"]) == {"enable": 0, "following": 1, "count": 2, "full": 3, "odd": 3}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("count == LAST", {"full"}),
        ("enable) begin", {"following"}),
        ("posedge clk", {"count"}),
        ("4'd9", {"LAST"}),
        ("WIDTH-1:0] following", {"following"}),
        ("<= following", {"count"}),
        ("full ? 4'd0", {"following"}),
    ],
)
def test_an_edit_affects_what_its_construct_writes(counter, text, names):
    start = counter.index(text)
    assert affected(read_design(counter), start, start + len(text.split()[0])) == names


def test_a_path_leads_from_the_symptom_to_the_cause(counter):
    design = read_design(counter)
    path = path_between(design, "odd", {"following"})
    assert [design.tree.line(driver.start) for driver in path] == [15, 28]
    assert path_between(design, "odd", {"odd"}) == []
    assert path_between(design, "following", {"odd"}) == []
