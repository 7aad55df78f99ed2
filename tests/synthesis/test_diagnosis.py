"""Taking real diagnostics apart, and telling whether they point at an edit."""

from random import Random

import pytest

from ecot.outcomes import Execution, Label, Stage
from ecot.synthesis.faults import OPERATORS, FaultStack
from ecot.synthesis.mechanical.diagnosis import Mismatch, read_diagnostics
from ecot.synthesis.mechanical.implication import Via, implicated, improves, next_code_line
from ecot.synthesis.verilog.design import read_design

SIMULATION = """\
simulation finished: 357 of 364 samples mismatch
first mismatch at 30 ns: output 'gray' expected 4'h1, got 4'hx (inputs: rst_n=1 enable=1 clear=0)
output 'gray': 344 mismatches, first at 30 ns
output 'wrap': 13 mismatches, first at 180 ns
output 'level': no mismatch
"""


def compilation(subcode, text):
    return read_diagnostics(Execution(Label.COMPILATION_ERROR, subcode, Stage.COMPILE, text))


def simulation(text):
    return read_diagnostics(Execution(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK, text))


def edit_of(code, operator, right, wrong):
    """The edit of an operator that turns `right` into `wrong`, whatever small choices it takes."""
    for seed in range(300):
        for edit in OPERATORS[operator].propose(read_design(code), Random(seed)):
            if FaultStack(code, (edit,)).text([edit]) == code.replace(right, wrong, 1):
                return edit
    raise AssertionError(f"{operator} does not turn {right!r} into {wrong!r}")


def test_a_simulation_summary_is_taken_apart():
    reading = simulation(SIMULATION)
    assert (reading.failed_samples, reading.samples, reading.healthy) == (357, 364, ("level",))
    assert reading.mismatches == (
        Mismatch("gray", 344, 30, "4'h1", "4'hx", "rst_n=1 enable=1 clear=0"),
        Mismatch("wrap", 13, 180),
    )


@pytest.mark.parametrize(
    ("message", "line", "names"),
    [
        ("candidate.sv:9: error: Unable to bind wire/reg/memory `bb' in `m'", 9, {"bb", "m"}),
        ("candidate.sv:9: error: Unable to bind wire/reg/memory `mem[ptr]' in `m'", 9, {"mem", "m"}),
        ("candidate.sv:7: error: Could not find variable ``stt'' in ``m''", 7, {"stt", "m"}),
        ("candidate.sv:6: error: q is not a valid l-value in m.", 6, {"q"}),
        ("candidate.sv:6: error: mem[write_ptr] is not a valid l-value in m.", 6, {"mem"}),
        ("candidate.sv:6: error: q Unable to assign to unresolved wires.", 6, {"q"}),
        ("candidate.sv:16: error: can not select part of scalar: doubled", 16, {"doubled"}),
        ("testbench: error: port ``dout'' is not a port of fifo.", None, {"dout"}),
        ("candidate.sv:3: Error: System task/function $clog() is not defined", 3, {"$clog"}),
        ("candidate.sv:12: syntax error", 12, set()),
    ],
)
def test_messages_name_lines_and_identifiers(message, line, names):
    (complaint,) = compilation("elaboration", message + "\n1 error(s) during elaboration.\n").complaints
    assert (complaint.line, complaint.names) == (line, names)


def test_warnings_and_continuations_are_no_complaints():
    text = (
        "candidate.sv:2: warning: implicit definition of wire 'y'.\n"
        "candidate.sv:1:      : q is declared here as wire.\n"
        "I give up.\n"
    )
    assert compilation("elaboration", text).complaints == ()


def test_a_syntax_error_implicates_the_line_it_stops_at_or_the_one_before(counter):
    edit = edit_of(counter, "drop_semicolon", "assign odd  = count[0];", "assign odd  = count[0]")
    stack = FaultStack(counter, (edit,))
    for line, via in ((15, Via.LINE), (17, Via.LINE), (18, None), (14, None), (31, None)):
        found = implicated(compilation("syntax", f"candidate.sv:{line}: syntax error\n"), stack, [edit])
        assert [item.via for item in found] == ([via] if via else []), line


def test_a_missing_end_is_implicated_where_the_blocks_collide(counter):
    edit = edit_of(counter, "drop_end", "        end\n    end\n\n    always_ff", "    end\n\n    always_ff")
    stack = FaultStack(counter, (edit,))
    (found,) = implicated(compilation("syntax", "candidate.sv:30: syntax error\nI give up.\n"), stack, [edit])
    assert stack.text([edit]).split("\n")[29] == "endmodule"
    assert found.via is Via.BLOCK


def test_only_the_first_syntax_error_is_believed(counter):
    edit = edit_of(counter, "drop_semicolon", "count <= following;", "count <= following")
    text = "candidate.sv:9: syntax error\ncandidate.sv:28: syntax error\n"
    assert implicated(compilation("syntax", text), FaultStack(counter, (edit,)), [edit]) == []


def test_an_elaboration_error_implicates_by_name_wherever_it_stands(counter):
    edit = edit_of(counter, "drop_declaration", "    logic [WIDTH-1:0] following;\n", "")
    stack = FaultStack(counter, (edit,))
    text = "candidate.sv:17: error: Could not find variable ``following'' in ``counter''\n"
    (found,) = implicated(compilation("elaboration", text), stack, [edit])
    assert (found.via, found.complaint.line) == (Via.NAME, 17)
    assert implicated(compilation("elaboration", text.replace("following", "count")), stack, [edit]) == []


def test_a_mismatch_implicates_by_the_cone_only(counter):
    edit = edit_of(counter, "wrong_comparison", "count == LAST", "count != LAST")
    stack = FaultStack(counter, (edit,))
    outputs = SIMULATION.replace("gray", "full").replace("wrap", "odd").replace("output 'level': no mismatch\n", "")
    first, second = implicated(simulation(outputs), stack, [edit])
    assert (first.via, first.mismatch.signal, first.distance) == (Via.CONE, "full", 0)
    assert second.mismatch.signal == "odd"
    assert first.rank < second.rank
    elsewhere = FaultStack(counter, (edit_of(counter, "wrong_index", "count[0]", "count[1]"),))
    assert [i.mismatch.signal for i in implicated(simulation(outputs), elsewhere, elsewhere.edits)] == ["odd"]


def test_an_outcome_is_better_when_what_pointed_at_the_edit_is_mended(counter):
    edit = edit_of(counter, "wrong_comparison", "count == LAST", "count != LAST")
    before = simulation(SIMULATION.replace("gray", "full").replace("wrap", "odd"))
    for_full, for_odd = implicated(before, FaultStack(counter, (edit,)), [edit])
    only_odd = simulation(
        "simulation finished: 13 of 364 samples mismatch\n"
        "first mismatch at 180 ns: output 'odd' expected 1'h1, got 1'h0\n"
        "output 'full': no mismatch\noutput 'odd': 13 mismatches, first at 180 ns\n"
    )
    assert improves(before, only_odd, for_full)
    assert not improves(before, only_odd, for_odd)
    assert improves(before, read_diagnostics(Execution(Label.PASS, "", Stage.CHECK, "")), for_odd)
    assert not improves(before, compilation("syntax", "candidate.sv:9: syntax error\n"), for_full)


def test_the_next_code_line_skips_blanks_and_comments():
    assert next_code_line("a\n\n  // note\n b\n", 1) == 4
    assert next_code_line("a\n\n", 1) == 4
