"""The first layout of VerilogEval, which RTLFixer keeps, and agreement with verdicts that others recorded."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from ecot.errors import DataError, ToolError
from ecot.outcomes import Label
from ecot.tasks.importers import import_tasks
from ecot.tasks.importers.bundles import task_id
from ecot.tasks.registry import load_tasks

PUBLIC = Path(__file__).resolve().parents[3] / "shared" / "data" / "rtlfixer"

# Written for this test in the layout of VerilogEval v1.
TEST = """`timescale 1 ps/1 ps
module reference_module (input clk, input a, output reg q);
  always @(posedge clk) q <= ~a;
endmodule
module stimulus_gen (input clk, output reg a);
  initial begin
    a <= 0;
    repeat (30) @(posedge clk, negedge clk) a <= $random;
    #1 $finish;
  end
endmodule
module tb();
  typedef struct packed { int errors; int errortime; int errors_q; int errortime_q; int clocks; } stats;
  stats stats1;
  reg clk = 0;
  initial forever #5 clk = ~clk;
  logic a; logic q_ref; logic q_dut;
  initial begin $dumpfile("wave.vcd"); $dumpvars(1, stim1.clk, a); end
  wire tb_match;
  stimulus_gen stim1 (.clk, .*, .a);
  reference_module good1 (.clk, .a, .q(q_ref));
  top_module top_module1 (.clk, .a, .q(q_dut));
  final begin
    $display("Hint: Total mismatched samples is %1d out of %1d samples\\n", stats1.errors, stats1.clocks);
    $display("Mismatches: %1d in %1d samples", stats1.errors, stats1.clocks);
  end
  assign tb_match = ({ q_ref } === ({ q_ref } ^ { q_dut } ^ { q_ref }));
  always @(posedge clk, negedge clk) begin
    stats1.clocks++;
    if (!tb_match) stats1.errors++;
  end
endmodule
"""
TASK = {
    "task_id": "Inverter",
    "prompt": "module top_module (input clk, input a, output reg q);\n",
    "canonical_solution": "  always @(posedge clk) q <= ~a;\nendmodule\n",
    "test": TEST,
}


@pytest.fixture
def icarus(started):
    return started("icarus", lint=False, synthesis=False)


def write_lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_tasks_and_descriptions_are_joined(icarus, tmp_path):
    write_lines(tmp_path / "v1" / "data" / "VerilogEval_Human.jsonl", TASK)
    description = {"task_id": "Inverter", "detail_description": "Write a registered inverter."}
    write_lines(tmp_path / "v1" / "descriptions" / "VerilogDescription_Human.jsonl", description)
    assert import_tasks("verilog_eval_v1", tmp_path / "v1", tmp_path / "out") == ["inverter"]
    task = load_tasks(str(tmp_path / "out"))["inverter"]
    assert task.spec.startswith("Write a registered inverter.") and TASK["prompt"].strip() in task.spec
    assert asyncio.run(icarus.execute(task, task.reference)).passed
    wrong = asyncio.run(icarus.execute(task, task.reference.replace("~a", "a")))
    assert wrong.label is Label.FUNCTIONAL_MISMATCH
    early = asyncio.run(icarus.execute(task, task.reference.replace("endmodule", "initial $finish;\nendmodule")))
    assert early.label is Label.PROTOCOL_VIOLATION


def test_a_task_without_description_is_named(tmp_path):
    write_lines(tmp_path / "v1" / "tasks.jsonl", TASK)
    with pytest.raises(DataError, match=r"tasks\.jsonl:1: task Inverter has no 'detail_description'"):
        import_tasks("verilog_eval_v1", tmp_path / "v1", tmp_path / "out")
    (tmp_path / "v1" / "tasks.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"tasks\.jsonl:1: must be a JSON object with a 'task_id'"):
        import_tasks("verilog_eval_v1", tmp_path / "v1", tmp_path / "out")


OTHER_BENCHES = {"2012_q2fsm", "2013_q2afsm", "fsm_ps2"}
"""Of these, some attempts were recorded under another testbench of the same name, which counts other samples."""


def agreement(icarus, tmp_path, every):
    """Attempts of a language model, run here, against the label that an independent harness gave them.

    Left out are attempts that were recorded under another testbench, and those on a task that neither can judge, since
    Icarus 11 does not compile its reference.
    """
    if not PUBLIC.is_dir():
        pytest.skip(f"{PUBLIC} is not here: a copy of the public attempts is needed")
    import_tasks("verilog_eval_v1", PUBLIC, tmp_path / "out")
    tasks = load_tasks(str(tmp_path / "out"))
    with gzip.open(PUBLIC / "attempts.even.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines][::every]
    for broken in {task_id(row["task_id"]) for row in rows if row["icarus11_label"] == "REF_BROKEN"}:
        with pytest.raises(ToolError, match="the reference does not pass"):
            asyncio.run(icarus.execute(tasks[broken], tasks[broken].reference))
    rows = [row for row in rows if row["icarus11_label"] != "REF_BROKEN"]
    executions = asyncio.run(icarus.execute_many([(tasks[task_id(row["task_id"])], row["code"]) for row in rows]))
    same = [
        execution.passed == (row["icarus11_label"] == "PASS")
        for execution, row in zip(executions, rows, strict=True)
        if not (row["task_id"] in OTHER_BENCHES and counts_differ(execution, row))
    ]
    return sum(same) / len(same), len(same)


def counts_differ(execution, row):
    return "samples" in execution.metrics and row["mismatches"] and row["mismatches"][1] != execution.metrics["samples"]


def test_verdicts_agree_with_an_independent_harness(icarus, tmp_path):
    """A sample; `make drill` takes all of them."""
    share, count = agreement(icarus, tmp_path, 60)
    assert count > 70 and share >= 0.98


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_all_verdicts_agree_with_an_independent_harness(icarus, tmp_path):
    share, count = agreement(icarus, tmp_path, 1)
    assert count > 4400 and share >= 0.995
