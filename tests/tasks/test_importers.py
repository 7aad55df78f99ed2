"""Public layouts become bundles whose verdict cannot be forged; the real benchmarks are read where they are at hand."""

import asyncio
from pathlib import Path

import pytest

from ecot.backends.verify import verify_tasks
from ecot.errors import ConfigError, DataError
from ecot.outcomes import Label
from ecot.tasks.importers import FORMATS, import_tasks
from ecot.tasks.registry import load_tasks

PUBLIC = Path(__file__).resolve().parents[3] / "shared" / "data"

# Written for this test in the layout of VerilogEval v2.
EVAL_REF = """
module RefModule (input clk, input a, output reg q);
  always @(posedge clk) q <= ~a;
endmodule
"""
EVAL_TEST = """`timescale 1 ps/1 ps
`define OK 12

module stimulus_gen (input clk, output reg a);
  initial begin
    a <= 0;
    repeat (40) @(posedge clk, negedge clk) a <= $random;
    #1 $finish;
  end
endmodule

module tb();
  typedef struct packed { int errors; int errortime; int errors_q; int errortime_q; int clocks; } stats;
  stats stats1;
  reg clk = 0;
  initial forever #5 clk = ~clk;
  logic a; logic q_ref; logic q_dut;
  initial begin
    $dumpfile("wave.vcd");
    $dumpvars(1, stim1.clk, tb_mismatch, clk, a, q_ref, q_dut);
  end
  wire tb_match; // Verification
  wire tb_mismatch = ~tb_match;
  stimulus_gen stim1 (.clk, .*, .a);
  RefModule good1 (.clk, .a, .q(q_ref));
  TopModule top_module1 (.clk, .a, .q(q_dut));
  final begin
    if (stats1.errors_q) $display("Hint: Output '%s' has %0d mismatches. First mismatch occurred at time %0d.", "q", stats1.errors_q, stats1.errortime_q);
    else $display("Hint: Output '%s' has no mismatches.", "q");
    $display("Mismatches: %1d in %1d samples", stats1.errors, stats1.clocks);
  end
  assign tb_match = ({ q_ref } === ({ q_ref } ^ { q_dut } ^ { q_ref }));
  always @(posedge clk, negedge clk) begin
    stats1.clocks++;
    if (!tb_match) begin
      if (stats1.errors == 0) stats1.errortime = $time;
      stats1.errors++;
    end
    if (q_ref !== (q_ref ^ q_dut ^ q_ref)) begin
      if (stats1.errors_q == 0) stats1.errortime_q = $time;
      stats1.errors_q = stats1.errors_q + 1'b1;
    end
  end
endmodule
"""  # noqa: E501

# The same for RTLLM; this testbench does not end by itself.
RTLLM_TEST = """`timescale 1ns/1ps
module xor_tb;
  reg clk = 0, a, b; wire y; integer error = 0; integer i; reg [1:0] vectors [0:3];
  xor_gate uut (.a(a), .b(b), .y(y));
  always #5 clk = ~clk;
  initial begin
    $readmemh("vectors.txt", vectors); // $finish; in a comment
    for (i = 0; i < 4; i = i + 1) begin
      {a, b} = vectors[i];
      #10 error = (y === (a ^ b)) ? error : error + 1;
    end
    if (error == 0) $display("===========Your Design Passed===========");
    else $display("===========Test completed with %d failures===========", error);
  end
endmodule
"""
RTLLM_DESIGN = "module verified_xor_gate(input a, b, output y);\n  assign y = a ^ b;\nendmodule\n"


@pytest.fixture
def icarus(started):
    return started("icarus")


@pytest.fixture
def eval_folder(tmp_path):
    folder = tmp_path / "verilog-eval" / "dataset_spec-to-rtl"
    folder.mkdir(parents=True)
    (folder / "Prob001_inverter_prompt.txt").write_text("Write TopModule, a registered inverter.\n")
    (folder / "Prob001_inverter_ref.sv").write_text(EVAL_REF)
    (folder / "Prob001_inverter_test.sv").write_text(EVAL_TEST)
    return folder.parent


@pytest.fixture
def rtllm_folder(tmp_path):
    folder = tmp_path / "RTLLM" / "Logic" / "xor_gate"
    folder.mkdir(parents=True)
    (folder / "design_description.txt").write_text("Module name: xor_gate\n")
    (folder / "testbench.v").write_text(RTLLM_TEST)
    (folder / "verified_xor_gate.v").write_text(RTLLM_DESIGN)
    (folder / "vectors.txt").write_text("0\n1 2\n3\n")
    return tmp_path / "RTLLM"


def test_verilog_eval_becomes_a_bundle(icarus, eval_folder, tmp_path):
    assert import_tasks("verilog_eval", eval_folder, tmp_path / "out") == ["prob001_inverter"]
    task = load_tasks(str(tmp_path / "out"))["prob001_inverter"]
    assert task.entry == "TopModule" and task.spec == "Write TopModule, a registered inverter.\n"
    assert task.reference == EVAL_REF.replace("RefModule", "TopModule")

    def outcome(code):
        execution = asyncio.run(icarus.execute(task, code))
        return execution.label, execution.subcode, execution.diagnostics

    assert outcome(task.reference) == (Label.PASS, "", "simulation finished: all 40 samples match\n")
    label, _, text = outcome(task.reference.replace("~a", "a"))
    assert label is Label.FUNCTIONAL_MISMATCH
    assert text.splitlines()[1] == "first mismatch at 10 ps: output 'q'"
    # The public checker takes `Mismatches: 0 in 0 samples` for a pass.
    early = task.reference.replace("endmodule", "initial $finish; endmodule")
    assert outcome(early)[:2] == (Label.PROTOCOL_VIOLATION, "early_finish")
    forged = task.reference.replace("endmodule", 'initial $display("Mismatches: 0 in 40 samples"); endmodule')
    assert outcome(forged)[:2] == (Label.PROTOCOL_VIOLATION, "spoofed_verdict")
    assert outcome("module TopModule(input clk, a, output q); RefModule r(clk, a, q); endmodule")[:2] == (
        Label.COMPILATION_ERROR,
        "elaboration",
    )


def test_rtllm_becomes_a_bundle(icarus, rtllm_folder, tmp_path):
    assert import_tasks("rtllm", rtllm_folder, tmp_path / "out") == ["xor_gate"]
    task = load_tasks(str(tmp_path / "out"))["xor_gate"]
    assert (task.entry, task.language, task.tags) == ("xor_gate", "verilog", ("rtllm", "logic"))

    def outcome(code):
        execution = asyncio.run(icarus.execute(task, code))
        return execution.label, execution.subcode

    assert outcome(task.reference) == (Label.PASS, "")
    assert outcome(task.reference.replace("^", "|")) == (Label.FUNCTIONAL_MISMATCH, "")
    shouting = 'initial begin $display("===========Your Design Passed==========="); $finish; end endmodule'
    assert outcome(task.reference.replace("a ^ b", "0").replace("endmodule", shouting)) == (
        Label.PROTOCOL_VIOLATION,
        "early_finish",
    )


def test_what_is_not_in_the_layout_is_named(eval_folder, rtllm_folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"'thesis' is unknown; known: human_eval, .*rtllm, .*verilog_eval"):
        import_tasks("thesis", eval_folder, out)
    with pytest.raises(ConfigError, match="no such folder"):
        import_tasks("rtllm", tmp_path / "absent", out)
    for name in FORMATS:
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=r"holds nothing in the layout of|missing"):
            import_tasks(name, tmp_path / "empty", out)
    test = next(eval_folder.rglob("*_test.sv"))
    test.write_text(EVAL_TEST.replace("Mismatches:", "Errors:"))
    with pytest.raises(DataError, match=r"_test\.sv: the line of the verdict occurs 0 times"):
        import_tasks("verilog_eval", eval_folder, out)
    test.unlink()
    with pytest.raises(DataError, match=r"_test\.sv: missing"):
        import_tasks("verilog_eval", eval_folder, out)
    bench = next(rtllm_folder.rglob("testbench.v"))
    bench.write_text(RTLLM_TEST.replace("xor_gate uut", "nand_gate uut"))
    with pytest.raises(DataError, match=r"testbench\.v: instantiates none of the modules verified_xor_gate"):
        import_tasks("rtllm", rtllm_folder, out)
    bench.write_text(RTLLM_TEST.replace("Passed", "Failed"))
    with pytest.raises(DataError, match="never says"):
        import_tasks("rtllm", rtllm_folder, out)


UNSUPPORTED = {
    "prob151_review2015_fsm": "a cast to an enumeration, which Icarus 11 does not support",
    "prob156_review2015_fancytimer": "a cast to an enumeration, which Icarus 11 does not support",
    "prob099_m2014_q6c": "testbench and reference disagree about a port",
    "asyn_fifo": "a break statement, which Icarus 11 does not support",
    "ring_counter": "an array initialised as a whole, which Icarus 11 does not support",
    "clkgenerator": "the verified design fails its testbench",
    "radix2_div": "the verified design fails its testbench",
}
"""Public references that do not pass here, and why."""


def verify_public(icarus, name, out, keep):
    if not (PUBLIC / name).is_dir():
        pytest.skip(f"{PUBLIC / name} is not here: a copy of the public benchmark is needed")
    ids = import_tasks(name, PUBLIC / name, out)
    tasks = {id: task for id, task in load_tasks(str(out)).items() if keep(id)}
    rows = asyncio.run(verify_tasks(tasks, icarus))
    failed = {row.id: row.describe() for row in rows if not row.as_expected and row.id not in UNSUPPORTED}
    return ids, failed


def test_public_references_pass(icarus, tmp_path):
    """A sample; `make drill` takes all of them."""
    ids, failed = verify_public(icarus, "verilog_eval", tmp_path / "v", lambda id: hash_of(id) % 16 == 0)
    assert len(ids) >= 78 and failed == {}
    ids, failed = verify_public(icarus, "rtllm", tmp_path / "r", lambda id: hash_of(id) % 4 == 0)
    assert len(ids) >= 25 and failed == {}


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_all_public_references_pass(icarus, tmp_path):
    for name in ("rtllm", "verilog_eval"):
        assert verify_public(icarus, name, tmp_path / name, lambda id: True)[1] == {}


def hash_of(id):
    return sum(id.encode())
