"""What Verilator is given of a candidate: no comments, no commands to Verilator, no C++, nothing that reaches out."""

import re

import pytest

from ecot.backends.chip_design.harness import header_identifiers, make_bench
from ecot.backends.chip_design.verilator_messages import judge_messages
from ecot.backends.chip_design.verilator_source import (
    ambiguity,
    input_ports,
    reachable_text,
    refusals,
    with_batch_calls,
    without_comments,
)
from ecot.outcomes import Label


def test_comments_vanish_and_everything_else_keeps_its_place():
    code = 'wire a; /*verilator public*/ wire b; // verilator lint_off WIDTH\ninitial $display("/*no//comment*/");\n'
    plain = without_comments(code)
    assert len(plain) == len(code) and plain.count("\n") == 2
    assert plain.index("wire b") == code.index("wire b")
    assert "verilator" not in plain and '"/*no//comment*/"' in plain


@pytest.mark.parametrize(
    "code",
    [
        '/* *\r/ initial $c("puts(0);"); /* */',  # the comment ends once the carriage return is dropped
        'initial $c ("puts(0);");',
        'initial x = $c32("1");',
        'initial $cpure("1");',
    ],
)
def test_code_in_c_is_seen_whatever_hides_it(code):
    assert any(name.startswith("$c") for name in refusals(without_comments(code.replace("\r", ""))))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('import "DPI-C" function int system(string s);', 'import "DPI-C"'),
        ('export "DPI-C" task run;', 'export "DPI-C"'),
        ("bind alu spy s (.*);", "bind"),
        ("initial force a = 1;", "force"),
        ("initial release a;", "release"),
        ("initial $system(1);", "$system"),
        ('initial $readmemh("/etc/passwd", m);', "$readmemh"),
        ('integer f = $fopen("x");', "$fopen"),
        ('initial if ($test$plusargs("x")) ;', "$test$plusargs"),
        ("wire n = $root.testbench.n;", "$root"),
        ("`verilator_config\npublic -module alu\n", "`verilator_config"),
        ("`systemc_header\n#include <x>\n`verilog\n", "`systemc_header"),
        ("`systemc_imp_header\nint x;\n`verilog\n", "`systemc_imp_header"),
        ("wire a; /*verilator public*/", "a comment made by macros"),
    ],
)
def test_what_reaches_out_is_refused(text, name):
    assert name in refusals(text)


@pytest.mark.parametrize(
    "text",
    [
        'initial $display("force $c(1) `verilator_config bind /* */ //");',
        "wire \\force , \\$c ; assign \\force = \\$c ;",
        "wire forced, binding, imported; import types::*;",
        "`timescale 1ns/1ps\n`default_nettype none\nreg [7:0] r = 8'hff; always @(r) r <= $signed(r) + $urandom;",
        "typedef $unit::t t;",
    ],
)
def test_what_only_looks_like_it_is_not(text):
    assert refusals(text) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('a\n"""x" $c(1) """', (2, "right behind a string")),
        ('a\nb\n$display("x\n");', (3, "unterminated string")),
        ('$display("x', (1, "unterminated string")),
        ("wire a; /* ", (1, "unterminated comment")),
        ("\n\nwire gr\u00f6\u00dfer;", (3, "outside ASCII")),
        ("wire a;\x1a", (1, "control character 0x1a")),
    ],
)
def test_what_could_be_read_in_two_ways_is_a_syntax_error(text, place):
    line, message = ambiguity(text)
    assert (line, place[1] in message) == (place[0], True)


def test_ordinary_text_is_not_ambiguous(tasks):
    assert ambiguity('initial $display("gr\u00f6\u00dfer \\" ", "x"); // gr\u00f6\u00dfer\n/* \u2265\n */') is None
    for task in tasks.values():
        assert ambiguity(task.reference) is None and refusals(without_comments(task.reference)) == []


def test_only_what_is_built_counts():
    own = 'module tb; initial begin $dumpfile("x"); $dumpvars; end alu dut (); endmodule\n'
    text = f"package p; endpackage\nmodule half; endmodule\n{own}module alu; half h (); endmodule\n"
    kept = reachable_text(text, "alu")
    assert refusals(text) == ["$dumpfile", "$dumpvars"] and refusals(kept) == []
    assert len(kept) == len(text) and "module half" in kept and "package p" in kept and "tb" not in kept
    used = text.replace("half h ();", "half h (); tb t ();")
    assert reachable_text(used, "alu") == used
    assert "$dumpvars" in refusals(reachable_text(text + "bind alu tb t ();", "alu"))


def test_batch_calls_stand_in_for_interactive_ones():
    source = 'initial begin $stop; $error("$stop $error"); $fatal; end // $stop'
    assert with_batch_calls(source) == 'initial begin $finish; $warning("$stop $error"); $fatal; end // $stop'


def test_the_inputs_of_every_reference_are_found(tasks):
    """Against a regular expression that knows how the shipped references are written."""
    for task in tasks.values():
        header = task.reference[: task.reference.index(");")]
        want = re.findall(r"input\s+logic\s*(?:signed)?\s*(?:\[[^\]]*\])?\s*(\w+)", header)
        assert input_ports(task.reference, task.entry, header_identifiers(task.reference, task.entry)) == want


def test_the_inputs_of_an_old_style_header_are_found():
    source = """module m(a, b, q);
        parameter W = 2;
        input [W-1:0] a; input b; output [W-1:0] q;
        function f; input c; f = c; endfunction
    endmodule"""
    assert input_ports(source, "m", header_identifiers(source, "m")) == ["a", "b"]


SAID = """\
%Warning-WIDTH: candidate.sv:3:5: Operator ASSIGN expects 4 bits
%Error: candidate.sv:31:38: Can't find definition of variable: 'total'
   31 |             OP_ADD:  {carry, result} = total;
      |                                        ^~~~~
                      : ... Suggested alternative: 'sum'
%Error: FOLDER/bench.sv:15:9: Pin not found: 'zero'
%Error: Exiting due to 2 error(s)
"""


def test_messages_name_the_candidates_lines_and_no_hidden_ones(tasks):
    bench = make_bench(tasks["alu"], "", b"secret")
    execution = judge_messages(SAID.replace("FOLDER", bench.folder).encode(), bench)
    assert (execution.label, execution.subcode) == (Label.COMPILATION_ERROR, "elaboration")
    assert execution.diagnostics.splitlines() == [
        "candidate.sv:31:38: error: Can't find definition of variable: 'total' (Suggested alternative: 'sum')",
        "testbench: error: Pin not found: 'zero'",
    ]


@pytest.mark.parametrize(
    ("line", "subcode"),
    [
        ("%Error: candidate.sv:40:1: syntax error, unexpected endmodule", "syntax"),
        ("%Error-UNSUPPORTED: candidate.sv:9:1: Unsupported: tran", "unsupported"),
        ("%Error: Internal Error: ../V3Ast.cpp:12: no such node", "unsupported"),
        ("%Error-PROCASSWIRE: candidate.sv:9:1: Procedural assignment to wire, perhaps intended var", "elaboration"),
    ],
)
def test_messages_are_told_apart(tasks, line, subcode):
    assert judge_messages(line.encode(), make_bench(tasks["alu"], "", b"secret")).subcode == subcode
