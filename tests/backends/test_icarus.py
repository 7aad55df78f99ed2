"""The Icarus backend: labels, diagnostics, and what a candidate may learn or break."""

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ecot.backends.chip_design import tool as tool_module
from ecot.backends.chip_design.backend import IcarusBackend
from ecot.backends.protocol import Backend
from ecot.errors import DataError, MissingToolError, ToolError
from ecot.outcomes import Domain, Label, Stage


def test_it_is_a_backend(icarus):
    assert isinstance(icarus, Backend)
    assert icarus.name == "icarus" and icarus.domains == {Domain.CHIP_DESIGN}


def test_a_reference_passes_with_its_count(execute, icarus, tasks):
    execution = execute(tasks["alu"], tasks["alu"].reference)
    assert (execution.label, execution.subcode, execution.stage) == (Label.PASS, "", Stage.CHECK)
    assert execution.metrics == {"samples": 360, "mismatches": 0}
    assert execution.diagnostics == "simulation finished: all 360 samples match\n"
    assert execution.fingerprint == icarus.fingerprint
    assert 0 < execution.seconds < 60


def test_a_mismatch_is_reported_as_a_simulator_would(execute, tasks):
    """Of 45 additions with this fault, every one that has a carry differs; the first is 8'hff + 8'h01 at 20 ns."""
    code = tasks["alu"].reference.replace("OP_ADD:  {carry, result} = sum;", "OP_ADD:  result = sum;")
    execution = execute(tasks["alu"], code)
    assert (execution.label, execution.stage) == (Label.FUNCTIONAL_MISMATCH, Stage.CHECK)
    lines = execution.diagnostics.splitlines()
    count = int(execution.metrics["mismatches"])
    assert 1 < count < 45
    assert lines == [
        f"simulation finished: {count} of 360 samples mismatch",
        "first mismatch at 20 ns: output 'carry' expected 1'b1, got 1'b0 (inputs: a=8'hff b=8'h01 op=0)",
        "output 'result': no mismatch",
        f"output 'carry': {count} mismatches, first at 20 ns",
        "output 'zero': no mismatch",
        "output 'negative': no mismatch",
    ]
    assert execution.metrics["first_mismatch_ns"] == 20


def test_an_undriven_output_shows_as_unknown(execute, tasks):
    code = tasks["alu"].reference.replace("    assign zero     = (result == '0);\n", "")
    text = execute(tasks["alu"], code).diagnostics
    assert "output 'zero' expected 1'b1, got 1'bx" in text


def test_so_many_errors_that_the_exit_code_is_0_again(execute, tasks):
    """Icarus ends with the number of errors, of which the system keeps eight bits."""
    cells = "wire [255:0] n;\ngenvar i;\nfor (i = 0; i < 256; i = i + 1) begin : cells\nalways @(a) n[i] <= 1;\nend\n"
    execution = execute(tasks["alu"], tasks["alu"].reference.replace("endmodule", f"{cells}endmodule"))
    assert (execution.label, execution.subcode) == (Label.COMPILATION_ERROR, "elaboration")
    assert "n[i] is not a valid l-value" in execution.diagnostics


def test_a_multi_bit_unknown_keeps_its_width(execute, tasks):
    code = tasks["lfsr"].reference.replace("            state <= RESET_STATE;\n", "")
    text = execute(tasks["lfsr"], code).diagnostics
    assert "output 'state' expected 8'h4a, got 8'hxx" in text


@pytest.mark.parametrize(
    ("edit", "subcode", "line"),
    [
        (("endcase", ""), "syntax", "candidate.sv:40: syntax error"),
        (
            ("= sum;", "= total;"),
            "elaboration",
            "candidate.sv:31: error: Unable to bind wire/reg/memory `total' in `alu'",
        ),
        (
            ("output logic             zero,", ""),
            "elaboration",
            "testbench: error: port ``zero'' is not a port of alu.",
        ),
        (("module alu", "module my_alu"), "elaboration", "testbench: error: Unknown module type: alu"),
        (
            ("= a & b;", "= `MASK;"),
            "syntax",
            "candidate.sv:33: warning: macro MASK undefined (and assumed null) at this point.",
        ),
    ],
)
def test_compiler_messages_name_the_candidates_line_only(execute, tasks, edit, subcode, line):
    execution = execute(tasks["alu"], tasks["alu"].reference.replace(*edit))
    assert (execution.label, execution.subcode, execution.stage) == (Label.COMPILATION_ERROR, subcode, Stage.COMPILE)
    assert line in execution.diagnostics.splitlines()
    assert not re.search(r"bench\.sv|harness|/tmp|[0-9a-f]{16}|testbench:\d", execution.diagnostics)


def test_what_this_icarus_does_not_support_is_told_from_an_error(execute, tasks):
    cast = "typedef enum logic [1:0] {A, B} e_t;\n    e_t e;\n    initial e = e_t'(1);\n"
    code = tasks["alu"].reference.replace("    assign sum ", f"    {cast}    assign sum ")
    execution = execute(tasks["alu"], code)
    if execution.passed:
        pytest.skip("this version of Icarus Verilog supports casts to enumerations")
    assert (execution.label, execution.subcode) == (Label.COMPILATION_ERROR, "unsupported")
    assert "sorry:" in execution.diagnostics


def test_many_messages_are_cut(execute, tasks):
    lines = "".join(f"    assign no_{i} = absent_{i};\n" for i in range(200))
    execution = execute(tasks["alu"], tasks["alu"].reference.replace("endmodule", lines + "endmodule"))
    shown = execution.diagnostics.splitlines()
    assert len(shown) == 41 and re.fullmatch(r"\.\.\. \d+ more lines", shown[-1])


def test_results_come_in_order_from_a_pool(icarus, tasks):
    alu = tasks["alu"]
    jobs = [(alu, alu.reference), (alu, "module"), (tasks["pwm"], tasks["pwm"].reference), (alu, "")]
    labels = [execution.label for execution in asyncio.run(icarus.execute_many(jobs * 2))]
    assert labels == [Label.PASS, Label.COMPILATION_ERROR, Label.PASS, Label.FORMAT_ERROR] * 2


def test_outcomes_do_not_depend_on_process_or_order(icarus, tasks):
    """A second backend, used in another order, says the same to the letter."""
    jobs = [(tasks["sync_fifo"], wrong.code) for wrong in tasks["sync_fifo"].wrong]
    first = asyncio.run(icarus.execute_many(jobs))
    second = asyncio.run(IcarusBackend(workers=1, lint=False, synthesis=False).execute_many(jobs[::-1]))[::-1]
    assert [(e.label, e.subcode, e.diagnostics, e.metrics) for e in first] == [
        (e.label, e.subcode, e.diagnostics, e.metrics) for e in second
    ]


def test_another_secret_gives_other_stimuli_and_another_fingerprint(icarus, execute, tasks):
    other = IcarusBackend(secret="another", lint=False, synthesis=False)
    wrong = next(wrong for wrong in tasks["uart_tx"].wrong if wrong.name == "odd_parity")
    ours, theirs = execute(tasks["uart_tx"], wrong.code), asyncio.run(other.execute(tasks["uart_tx"], wrong.code))
    assert ours.label == theirs.label == Label.FUNCTIONAL_MISMATCH
    assert ours.metrics["samples"] == theirs.metrics["samples"]
    assert ours.diagnostics != theirs.diagnostics
    assert icarus.fingerprint != other.fingerprint
    assert "another" not in other.fingerprint


def test_two_candidates_see_different_stimuli(execute, tasks):
    wrong = next(wrong for wrong in tasks["uart_tx"].wrong if wrong.name == "odd_parity")
    texts = {execute(tasks["uart_tx"], wrong.code + comment).diagnostics for comment in ("", "// a\n", "// b\n")}
    assert len(texts) == 3


def test_a_broken_reference_is_an_error_of_the_harness(icarus, tasks):
    alu = tasks["alu"]
    broken = replace(alu, reference=alu.reference.replace("a & b", "a | b"))
    with pytest.raises(ToolError, match=r"task alu: the reference does not pass.*FUNCTIONAL_MISMATCH"):
        asyncio.run(icarus.execute(broken, alu.reference))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"run_second": 3}}, "task alu: settings key 'run_second'"),
        ({"settings": {"run_seconds": 0}}, "task alu: settings key 'run_seconds'"),
        ({"domain": Domain.EMBEDDED}, "task alu: domain embedded cannot run on icarus"),
        ({"entry": "other"}, "task alu: the reference defines no module 'other'"),
        ({"hidden": {}}, "task alu: no hidden file 'testbench.sv'"),
        (
            {"environment": {"candidate.sv": ""}},
            "task alu: key 'environment': 'candidate.sv' is the candidate's own name",
        ),
    ],
)
def test_a_malformed_task_is_refused(icarus, tasks, change, message):
    with pytest.raises(DataError, match=re.escape(message)):
        asyncio.run(icarus.execute(replace(tasks["alu"], **change), "module alu; endmodule"))


def test_environment_files_can_be_included(icarus, tasks):
    alu = tasks["alu"]
    body = alu.reference.replace("localparam logic [2:0] OP_ADD = 3'd0;", '`include "codes.svh"')
    assert body != alu.reference
    task = replace(alu, reference=body, environment={"codes.svh": "localparam logic [2:0] OP_ADD = 3'd0;\n"})
    assert asyncio.run(icarus.execute(task, body)).passed


def test_a_missing_tool_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(tool_module.shutil, "which", lambda name: None)
    with pytest.raises(MissingToolError, match="apt install iverilog"):
        tool_module.find_icarus.__wrapped__()


def test_looking_for_the_tool_changes_no_device():
    """The compiler makes what it writes executable; written to as root, `/dev/null` would lose its mode."""
    before = Path(os.devnull).stat().st_mode
    assert tool_module.find_icarus.__wrapped__().version
    assert Path(os.devnull).stat().st_mode == before


def test_another_program_of_that_name_is_refused(monkeypatch):
    monkeypatch.setattr(tool_module.shutil, "which", lambda name: "/bin/true")
    with pytest.raises(ToolError, match="is it what its name says"):
        tool_module.find_icarus.__wrapped__()


def test_an_ordinary_candidate_may_print_and_draw_random_numbers(execute, tasks):
    """Printing `pass` is no verdict, and drawing from the simulator's generator does not shift the stimuli."""
    noise = (
        '    initial begin $display("ALL TESTS PASSED"); $write("unfinished line"); end\n'
        "    reg [31:0] noise;\n    always @(a) noise = $random;\n"
    )
    assert execute(tasks["alu"], tasks["alu"].reference.replace("endmodule", noise + "endmodule")).passed
    wrong = tasks["alu"].wrong[1].code.replace("endmodule", noise + "endmodule")
    assert execute(tasks["alu"], wrong).label is Label.FUNCTIONAL_MISMATCH
