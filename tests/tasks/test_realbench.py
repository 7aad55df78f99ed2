"""RealBench's layout, on a tree written for this test: the real specifications are encrypted and not at hand."""

import asyncio

import pytest

from ecot.backends.chip_design.backend import IcarusBackend
from ecot.errors import DataError, ToolError
from ecot.outcomes import Label
from ecot.tasks.importers import import_tasks
from ecot.tasks.registry import load_tasks

DEFINES = "`ifndef METER_DEFINES\n`define METER_DEFINES\n`define COUNT_WIDTH 4\n`endif\n"
EDGE = """module edge_finder (input clk, rst_n, level, output found);
  reg last;
  always @(posedge clk or negedge rst_n) if (!rst_n) last <= 1'b0; else last <= #1 level;
  assign found = level & ~last;
endmodule
"""
LIMIT = """`include "meter_defines.v"
module ref_limiter (input [`COUNT_WIDTH-1:0] value, output [`COUNT_WIDTH-1:0] held);
  assign held = value == {`COUNT_WIDTH{1'b1}} ? value : value + 1'b1;
endmodule
"""
# The golden model splits the work among submodules of its own and one that it shares with the reference.
GOLDEN = """`include "meter_defines.v"
module ref_pulse_meter (input clk, rst_n, pulse, output reg [`COUNT_WIDTH-1:0] count, output full);
  wire found; wire [`COUNT_WIDTH-1:0] held;
  edge_finder finder (.clk(clk), .rst_n(rst_n), .level(pulse), .found(found));
  ref_limiter limiter (.value(count), .held(held));
  always @(posedge clk or negedge rst_n) if (!rst_n) count <= 0; else if (found) count <= #1 held;
  assign full = &count;
endmodule
"""
TOP = """`include "meter_defines.v"
module pulse_meter (input clk, rst_n, pulse, output reg [`COUNT_WIDTH-1:0] count, output full);
  wire found;
  edge_finder finder (.clk(clk), .rst_n(rst_n), .level(pulse), .found(found));
  always @(posedge clk or negedge rst_n)
    if (!rst_n) count <= 0; else if (found && !(&count)) count <= #1 count + 1'b1;
  assign full = &count;
endmodule
"""
STIMULI = """module stimulus_gen (input clk, tb_match, output logic rst_n, output logic pulse);
  initial begin
    rst_n <= 0; pulse <= 0;
    repeat (3) @(negedge clk);
    rst_n <= 1;
    repeat (80) @(negedge clk) pulse <= $random;
    $finish;
  end
endmodule
"""
# The lines of its verdict come in two forms, as there; `full` is compared more strictly than in `tb_match`.
TESTBENCH = """`timescale 1 ps/1 ps
module tb();
  typedef struct packed {
    int errors; int errortime; int errors_count; int errortime_count; int errors_full; int errortime_full; int clocks;
  } stats;
  stats stats1;
  reg clk = 0;
  initial forever #5 clk = ~clk;
  logic rst_n, pulse, full_ref, full_dut;
  logic [3:0] count_ref, count_dut;
  wire tb_match;
  stimulus_gen stim1 (.clk(clk), .tb_match(tb_match), .rst_n(rst_n), .pulse(pulse));
  ref_pulse_meter good1 (.clk(clk), .rst_n(rst_n), .pulse(pulse), .count(count_ref), .full(full_ref));
  pulse_meter top_module1 (.clk(clk), .rst_n(rst_n), .pulse(pulse), .count(count_dut), .full(full_dut));
  initial begin $dumpfile("wave.vcd"); $dumpvars(0, tb); end
  final begin
    if (stats1.errors_count)
      $display("Hint: Output 'count' has %0d mismatches. First mismatch occurred at time %0d.",
               stats1.errors_count, stats1.errortime_count);
    else
      $display("Hint: Output 'count' has no mismatches.");
    if (stats1.errors_full) $display("Hint: Output %s signal has %0d mismatches. First at time %0d",
      "full", stats1.errors_full, stats1.errortime_full);
    else $display("Hint: Output '%s' has no mismatches.", "full");
    $display("\\nHint: Total mismatched samples is %1d out of %1d samples\\n", stats1.errors, stats1.clocks);
    $display("Simulation finished at %0d ps", $time);
    $display("Mismatches: %1d in %1d samples", stats1.errors, stats1.clocks);
  end
  assign tb_match = ({count_ref} === ({count_ref} ^ {count_dut} ^ {count_ref}));
  always @(posedge clk) begin
    stats1.clocks++;
    if (!tb_match) begin if (stats1.errors == 0) stats1.errortime = $time; stats1.errors++; end
    if (count_ref !== (count_ref ^ count_dut ^ count_ref)) begin
      if (stats1.errors_count == 0) stats1.errortime_count = $time;
      stats1.errors_count++;
    end
    if (full_ref !== full_dut) begin
      if (stats1.errors_full == 0) stats1.errortime_full = $time;
      stats1.errors_full++;
    end
  end
  initial begin #1000000 $display("TIMEOUT"); $finish(); end
endmodule
"""


@pytest.fixture
def realbench(tmp_path):
    folder = tmp_path / "RealBench" / "meter" / "pulse_meter"
    (folder / "verification").mkdir(parents=True)
    (folder / "pulse_meter.md").write_text("# pulse_meter\n\nCounts rising edges of `pulse`, up to all ones.\n")
    files = {"pulse_meter_ref.sv": GOLDEN, "pulse_meter_top.sv": TOP, "pulse_meter_stimulus_gen.sv": STIMULI}
    files |= {"pulse_meter_testbench.sv": TESTBENCH, "meter_defines.v": DEFINES, "edge_finder.v": EDGE}
    files |= {"ref_limiter.v": LIMIT, "Makefile": "all:\n"}
    for name, text in files.items():
        (folder / "verification" / name).write_text(text)
    return tmp_path / "RealBench"


def test_a_module_with_submodules_and_a_header_becomes_a_bundle(realbench, tmp_path):
    try:
        icarus = IcarusBackend(workers=2)
    except ToolError as error:
        pytest.skip(str(error))
    assert import_tasks("realbench", realbench, tmp_path / "out") == ["pulse_meter"]
    task = load_tasks(str(tmp_path / "out"))["pulse_meter"]
    assert (task.entry, task.reference, task.tags) == ("pulse_meter", TOP, ("realbench", "meter"))
    assert task.environment == {"meter_defines.v": DEFINES, "edge_finder.v": EDGE}
    assert "Counts rising edges" in task.spec and "`edge_finder.v`" in task.spec and "limiter" not in task.spec
    early = TOP.replace("endmodule", "initial $finish;\nendmodule")
    candidates = {
        task.reference: ("PASS", ""),
        # Without the header: its macros hold all the same, as in the public harness.
        TOP.replace('`include "meter_defines.v"\n', ""): ("PASS", ""),
        TOP.replace(" && !(&count)", ""): ("FUNCTIONAL_MISMATCH", ""),
        # Only the counter of one output sees this one.
        TOP.replace("full = &count", "full = count == 14"): ("FUNCTIONAL_MISMATCH", ""),
        early: ("PROTOCOL_VIOLATION", "early_finish"),
        TOP.replace("endmodule", 'initial $display("Mismatches: 0 in 83 samples");\nendmodule'): (
            "PROTOCOL_VIOLATION",
            "spoofed_verdict",
        ),
        "module pulse_meter (input clk, rst_n, pulse, output [3:0] count, output full);\n"
        "  ref_pulse_meter cheat (clk, rst_n, pulse, count, full);\nendmodule\n": ("COMPILATION_ERROR", "elaboration"),
        # A submodule that is given may not come again.
        TOP + EDGE: ("COMPILATION_ERROR", "elaboration"),
    }
    found = asyncio.run(icarus.execute_many([(task, code) for code in candidates]))
    assert [(str(outcome.label), outcome.subcode) for outcome in found] == list(candidates.values())
    samples = found[0].metrics["samples"]
    assert samples == 83 and found[0].diagnostics.startswith("simulation finished: all 83 samples match\n")
    assert "output 'count': no mismatch\noutput 'full': " in found[3].diagnostics
    assert found[3].label is Label.FUNCTIONAL_MISMATCH and found[3].metrics["first_mismatch_ns"] > 0


def refused(folder, tmp_path, text):
    with pytest.raises(DataError, match=text):
        import_tasks("realbench", folder, tmp_path / "out")


def test_what_is_encrypted_missing_or_unknown_is_named(realbench, tmp_path):
    module = realbench / "meter" / "pulse_meter"
    files = module / "verification"
    (module / "pulse_meter.md").rename(module / "pulse_meter.md.gpg")
    refused(realbench, tmp_path, r"only the encrypted pulse_meter\.md\.gpg is here; .*`make decrypt`")
    (module / "pulse_meter.md.gpg").unlink()
    refused(realbench, tmp_path, r"pulse_meter\.md: missing")
    (files / "ref_limiter.v").rename(tmp_path / "limiter")
    refused(realbench, tmp_path, r"_ref\.sv: instantiates 'ref_limiter', which no file in .* defines")
    (tmp_path / "limiter").rename(files / "ref_limiter.v")
    (files / "meter_defines.v").unlink()
    refused(realbench, tmp_path, r"includes 'meter_defines\.v', which is not in")
    (files / "meter_defines.v").write_text(DEFINES)
    (files / "pulse_meter_testbench.sv").write_text(TESTBENCH.replace("pulse_meter top_mod", "pulse_gauge top_mod"))
    refused(realbench, tmp_path, r"_testbench\.sv: instantiates no module 'pulse_meter'")
    no_total = TESTBENCH.replace("Total mismatched samples is", "Wrong:").replace("Mismatches:", "Errors:")
    (files / "pulse_meter_testbench.sv").write_text(no_total)
    refused(realbench, tmp_path, r"_testbench\.sv: no line of the verdict")
    (files / "pulse_meter_top.sv").write_text(TOP.replace("pulse_meter", "pulse_gauge"))
    refused(realbench, tmp_path, r"_top\.sv: defines no module 'pulse_meter'; it has: `pulse_gauge`")
    (files / "pulse_meter_stimulus_gen.sv").unlink()
    refused(realbench, tmp_path, r"_stimulus_gen\.sv: missing")
    with pytest.raises(DataError, match="holds nothing in the layout of RealBench"):
        (tmp_path / "empty").mkdir()
        import_tasks("realbench", tmp_path / "empty", tmp_path / "out")
