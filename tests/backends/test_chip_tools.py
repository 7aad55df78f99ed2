"""Beside the simulator: what Yosys takes back and what Verilator adds; neither judges what the task does not ask."""

import asyncio
import shutil
from dataclasses import replace

import pytest

from ecot.backends.chip_design.backend import IcarusBackend
from ecot.backends.chip_design.lint import MAX_FINDINGS, find_verilator, findings
from ecot.backends.chip_design.synthesis import find_yosys
from ecot.errors import MissingToolError
from ecot.outcomes import Label, Stage


@pytest.fixture
def execute(chip_design):
    return lambda task, code: asyncio.run(chip_design.execute(task, code))


def insert(code, snippet):
    head, _, _ = code.rpartition("endmodule")
    return f"{head}\n{snippet}\nendmodule\n"


LATCH = "reg held; always @* if (a[0]) held = b[0];"
LOOP = "wire ring; assign ring = ring & a[0];"


def test_sizes_of_what_passes_are_metrics(execute, tasks):
    execution = execute(tasks["gray_counter"], tasks["gray_counter"].reference)
    assert execution.passed
    # Five state bits need five flip-flops; each next state needs at least one gate.
    assert execution.metrics["flip_flops"] == 5
    assert execution.metrics["cells"] > 10 and 2 <= execution.metrics["longest_path"] < 20


@pytest.mark.parametrize(
    ("snippet", "subcode", "words"),
    [
        (LATCH, "latch", "latch inferred for 'held': not every path assigns a value"),
        (LATCH.replace("always @*", "always_comb"), "latch", "'held'"),
        (LOOP, "comb_loop", "candidate.sv: synthesis: combinational loop"),
    ],
)
def test_what_simulates_right_but_is_no_clean_hardware_is_told(execute, tasks, snippet, subcode, words):
    task = tasks["alu"]
    execution = execute(task, insert(task.reference, snippet))
    assert (execution.label, execution.subcode, execution.stage) == (Label.SYNTHESIS_ERROR, subcode, Stage.SYNTHESIS)
    assert words in execution.diagnostics


def test_nothing_is_asked_that_the_reference_does_not_keep(chip_design, tasks):
    task = tasks["alu"]
    with_latch = insert(task.reference, LATCH)
    lenient = replace(task, reference=with_latch)
    assert asyncio.run(chip_design.execute(lenient, with_latch)).passed
    without = replace(task, settings={**task.settings, "synthesis": False})
    execution = asyncio.run(chip_design.execute(without, with_latch))
    assert execution.passed and "cells" not in execution.metrics


def test_what_yosys_cannot_read_keeps_its_verdict_with_a_note(execute, tasks):
    task = tasks["alu"]
    execution = execute(task, insert(task.reference, "real unused; initial unused = 1.5;\nint queue [$];"))
    assert execution.passed and "cells" not in execution.metrics
    assert "not synthesised: " in execution.diagnostics


def test_lint_stands_beside_the_outcome_and_decides_nothing(execute, tasks):
    task = tasks["alu"]
    execution = execute(task, insert(task.reference, "wire [3:0] narrow = a + b;"))
    assert execution.passed
    line = next(line for line in execution.diagnostics.splitlines() if line.startswith("lint:"))
    assert "WIDTH" in line and "candidate.sv:" in line
    assert execution.metrics["lint_findings"] >= 1


def test_a_mismatch_is_linted_and_a_syntax_error_is_not(execute, tasks):
    task = tasks["alu"]
    broken = insert(task.reference.replace("{carry, result} = sum", "result = sum"), "wire [3:0] narrow = a + b;")
    execution = execute(task, broken)
    assert execution.label is Label.FUNCTIONAL_MISMATCH and "lint: candidate.sv" in execution.diagnostics
    assert "lint" not in execute(task, "module alu(").diagnostics


def test_long_lint_is_cut_with_a_count():
    text = "".join(f"%Warning-WIDTH: candidate.sv:{n}:1: too wide\n   advice\n" for n in range(1, 31))
    found = findings(text + "%Error: Exiting due to 30 warning(s)\n")
    assert len(found) == MAX_FINDINGS + 1
    assert found[0] == "lint: candidate.sv:1:1: WIDTH: too wide" and found[-1] == "lint: 10 more"


def test_a_missing_tool_names_its_package_and_the_switch(monkeypatch):
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingToolError, match=r"apt install verilator.*`lint` off"):
        find_verilator()
    with pytest.raises(MissingToolError, match=r"apt install yosys.*`synthesis` off"):
        find_yosys()


def test_without_them_the_simulator_alone_judges(chip_design, tasks):
    alone = IcarusBackend(lint=False, synthesis=False)
    assert alone.fingerprint != chip_design.fingerprint
    execution = asyncio.run(alone.execute(tasks["alu"], insert(tasks["alu"].reference, LATCH)))
    assert execution.passed and set(execution.metrics) == {"samples", "mismatches"}
