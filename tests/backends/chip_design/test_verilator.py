"""The same verdicts from Verilator as from Icarus Verilog, and no way around them."""

import asyncio
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ecot.backends.candidate_text import screen_source
from ecot.backends.chip_design.backend import IcarusBackend
from ecot.backends.chip_design.harness import CANDIDATE_FILE, make_bench
from ecot.backends.chip_design.settings import read_settings
from ecot.backends.chip_design.verilator_build import ModelBuilder
from ecot.backends.conformance import outcome
from ecot.backends.registry import make_attack, make_backend
from ecot.backends.verify import verify_tasks
from ecot.errors import ConfigError, MissingToolError, ToolError
from ecot.outcomes import Execution, Label, Stage
from ecot.tasks.bundle import WrongCandidate

BUILT = {
    *("finish_at_once", "finish_midway", "stop_at_once", "fatal_midway", "fatal_after_the_verdict"),
    *("verdict_in_our_form", "verdict_of_a_public_benchmark", "verdict_after_the_end"),
    *("endless_loop", "combinational_oscillation", "oscillating_processes", "output_flood", "output_flood_in_one_line"),
    *("memory_hog_while_running", "endless_replication", "prints_its_place", "uses_the_simulators_random"),
    *("other_time_format", "module_named_testbench", "own_testbench_with_files", "leaves_directives_behind"),
    *("lone_surrogate", "unicode_comment", "windows_line_ends", "missing_port"),
}
"""Adversaries that screening lets through: what they do shows when they run, or meet the testbench."""
BY_VERSION = {"endless_replication", "stack_overflow", "zero_delay_loop"}
"""Adversaries that Verilator 5.006 refuses and 5.48 compiles, or the other way round."""

OTHERWISE = {
    # Verilator knows the tasks that it supports when it compiles, or gives up where Icarus Verilog tries.
    "unknown_system_task": "COMPILATION_ERROR/unsupported",
    "zero_delay_loop": "COMPILATION_ERROR/unsupported",
    "stack_overflow": "COMPILATION_ERROR/unsupported",
    "instantiates_itself": "COMPILATION_ERROR/unsupported",
    "memory_hog": "COMPILATION_ERROR/elaboration",
    "endless_elaboration": "COMPILATION_ERROR/elaboration",
    "endless_generation": "COMPILATION_ERROR/elaboration",
    # An error of the language is found before the screening sees the text.
    "file_function_in_an_expression": "COMPILATION_ERROR/syntax",
    "force_an_input": "COMPILATION_ERROR/elaboration",
    "force_by_another_name": "COMPILATION_ERROR/elaboration",
    "name_the_root": "COMPILATION_ERROR/elaboration",
    "stuck_in_reset_by_pullup": "COMPILATION_ERROR/syntax",
    "stuck_in_reset_by_pullup_inout": "COMPILATION_ERROR/syntax",
    "stuck_in_reset_by_switch": "COMPILATION_ERROR/unsupported",
    "stuck_in_reset_by_switch_inout": "COMPILATION_ERROR/unsupported",
    "stuck_in_reset_by_force_inout": "COMPILATION_ERROR/unsupported",
}
"""What Verilator says otherwise than Icarus Verilog of those that are not built."""


def insert(code, snippet):
    head, _, _ = code.rpartition("endmodule")
    return f"{head}\n{snippet}\nendmodule\n"


@pytest.fixture
def simulate(verilator):
    return lambda task, code: asyncio.run(verilator.execute(task, code))


@pytest.fixture
def screen(simulator):
    """What becomes of a candidate before anything is built: its text, or an outcome."""

    def run(task, code):
        bench = make_bench(task, code, b"secret")
        return screen_source(code, CANDIDATE_FILE) or asyncio.run(
            simulator.screen(task, code, bench, read_settings(task))
        )

    return run


def test_both_simulators_say_the_same(verilator, icarus, tasks):
    alu = tasks["alu"]
    renamed = alu.reference.replace("zero", "is_zero")
    another_port = WrongCandidate("another_port", renamed, Label.COMPILATION_ERROR, "elaboration")
    few = {"crc8": tasks["crc8"], "alu": replace(alu, wrong=(*alu.wrong, another_port))}
    ours, theirs = asyncio.run(verify_tasks(few, verilator)), asyncio.run(verify_tasks(few, icarus))
    for our, their in zip(ours, theirs, strict=True):
        assert our.as_expected, our.describe()
        assert our.reference.execution.metrics == their.reference.execution.metrics
        for mine, other in zip(our.wrong, their.wrong, strict=True):
            if mine.execution.label is Label.FUNCTIONAL_MISMATCH:
                # To the letter: signal, time, values and inputs of the first mismatch. None of these has an unknown.
                assert mine.execution.diagnostics == other.execution.diagnostics


def test_every_adversary_is_screened_without_a_build(screen, tmp_path):
    attack = make_attack("icarus", tmp_path / "canary")
    built = set()
    for adversary in attack.adversaries:
        result = screen(attack.task, adversary.code)
        if isinstance(result, str):
            built.add(adversary.name)
            continue
        # Versions know more or less of the language, so that more or less gets as far as the screening.
        expected = {OTHERWISE.get(adversary.name), *adversary.expected, "COMPILATION_ERROR/unsupported"}
        assert outcome(result) in expected, f"{adversary.name}: {result.diagnostics}"
        assert not re.search(r"/tmp|[0-9a-f]{24}|harness", result.diagnostics), adversary.name
    assert built ^ BUILT <= BY_VERSION


@pytest.mark.parametrize(
    ("snippet", "names"),
    [
        ('initial $c("system(\\"id\\");");', ["$c"]),
        ('wire [31:0] n = $c32("getpid()");', ["$c32"]),
        ('import "DPI-C" function int getpid(); wire [31:0] n = getpid();', ['import "DPI-C"']),
        ("endmodule module spy; endmodule bind alu spy s (); module unused;", ["bind"]),
        ("`systemc_header\n#include <unistd.h>\n`verilog\n", ["`systemc_header", "`verilog"]),
        # Put together by macros, so that the source does not hold it.
        ('`define JOIN(a, b) a``b\ninitial `JOIN($, c)("exit(0);");', ["$c"]),
    ],
)
def test_c_and_foreign_code_are_never_built(screen, tasks, snippet, names):
    execution = screen(tasks["alu"], insert(tasks["alu"].reference, snippet))
    assert isinstance(execution, Execution)
    if execution.label is Label.PROTOCOL_VIOLATION:
        text = f"candidate.sv: error: {', '.join(names)} may not be used in this environment\n"
        assert (execution.subcode, execution.stage, execution.diagnostics) == ("sandbox_denial", Stage.COMPILE, text)
    else:
        assert (execution.label, execution.subcode) == (Label.COMPILATION_ERROR, "syntax")


def test_commands_in_comments_do_not_arrive(screen, tasks):
    """An honest candidate may quiet a linter; nothing of it, and nothing worse, reaches Verilator."""
    code = tasks["alu"].reference.replace("    logic [WIDTH:0] sum;", "    logic [WIDTH:0] sum /*verilator public*/;")
    text = screen(tasks["alu"], "// verilator lint_off WIDTH\n" + code)
    assert isinstance(text, str) and "verilator" not in text and "logic [WIDTH:0] sum" in text


@pytest.mark.parametrize("port", ["inout  wire                    rst", "output logic                   rst"])
def test_an_input_must_stay_an_input(screen, tasks, port):
    """Driven from below, the testbench's own variable would follow, and its model with it."""
    task = tasks["sync_fifo"]
    code = task.reference.replace("input  logic                   rst", port)
    assert code != task.reference
    execution = screen(task, insert(code, "assign rst = 1'b1;"))
    assert (execution.label, execution.subcode) == (Label.COMPILATION_ERROR, "elaboration")


@pytest.mark.parametrize(
    ("edit", "subcode", "line"),
    [
        (("endcase", ""), "syntax", "candidate.sv:40:5: error: syntax error, unexpected end, expecting "),
        (("= a & b;", "= `MASK;"), "syntax", "candidate.sv:33:31: error: Define or directive not defined: '`MASK'"),
        (
            ("= sum;", "= summ;"),
            "elaboration",
            "candidate.sv:31:40: error: Can't find definition of variable: 'summ' (Suggested alternative: 'sum')",
        ),
        (("module alu", "module my_alu"), "elaboration", "testbench: error: Cannot find file containing module: 'alu'"),
    ],
)
def test_messages_name_the_candidates_line_only(screen, tasks, edit, subcode, line):
    execution = screen(tasks["alu"], tasks["alu"].reference.replace(*edit))
    assert (execution.label, execution.subcode, execution.stage) == (Label.COMPILATION_ERROR, subcode, Stage.COMPILE)
    # What is expected instead differs between versions.
    assert any(said.startswith(line) for said in execution.diagnostics.splitlines())
    assert not re.search(r"/tmp|harness|[0-9a-f]{16}", execution.diagnostics)


@pytest.mark.parametrize(
    ("snippet", "expected"),
    [
        ("initial #500 $stop;", "PROTOCOL_VIOLATION/early_finish"),
        ('final $display("ecot-verdict 0 total 425 0");', "PROTOCOL_VIOLATION/spoofed_verdict"),
        ('initial #500 $fatal(1, "giving up");', "RUNTIME_ERROR/assertion"),
        ("reg p = 0; always @(p) p <= ~p; initial #1 p = 1;", "TIMEOUT/run"),
    ],
)
def test_a_verdict_is_neither_forged_nor_avoided(simulate, tasks, snippet, expected):
    execution = simulate(tasks["edge_detector"], insert(tasks["edge_detector"].reference, snippet))
    assert outcome(execution) == expected
    if "$fatal" in snippet:
        assert re.fullmatch(
            r"candidate\.sv:\d+: Assertion failed in \S*edge_detector: giving up\n", execution.diagnostics
        )
    assert not re.search(r"/tmp|harness|[0-9a-f]{16}", execution.diagnostics)


def test_a_module_that_the_testbench_includes_may_be_used(screen, tasks):
    alu = tasks["alu"]
    code = alu.reference.replace("assign zero     = (result == '0);", "is_zero #(WIDTH) unit (result, zero);")
    part = "module is_zero #(parameter int W = 8) (input [W-1:0] v, output z); assign z = v == 0; endmodule\n"
    hidden = {"testbench.sv": '`include "is_zero.sv"\n' + alu.hidden["testbench.sv"]}
    given = replace(alu, reference=code, hidden={**alu.hidden, **hidden}, environment={"is_zero.sv": part})
    assert code != alu.reference and screen(given, code) == code
    assert outcome(screen(alu, code)) == "COMPILATION_ERROR/elaboration"


def test_what_was_never_written_is_noise_and_the_same_every_time(simulate, tasks):
    """Two states: there is no `x` to see, so an undriven output differs at some samples instead of at all."""
    task = tasks["alu"]
    code = task.reference.replace("    assign zero     = (result == '0);\n", "")
    first, second = simulate(task, code), simulate(task, code)
    assert first.label is Label.FUNCTIONAL_MISMATCH and "output 'zero' expected 1'b" in first.diagnostics
    assert (first.diagnostics, first.metrics) == (second.diagnostics, second.metrics)
    assert 0 < first.metrics["mismatches"] < first.metrics["samples"]


def test_the_simulator_is_part_of_the_fingerprint(verilator, icarus):
    assert verilator.fingerprint != icarus.fingerprint
    assert make_backend("icarus", simulator="icarus", lint=False, synthesis=False).fingerprint == icarus.fingerprint
    with pytest.raises(ConfigError, match="option 'simulator'"):
        make_backend("icarus", simulator="modelsim")


def test_missing_tools_name_the_package_and_the_option(monkeypatch, sandbox):
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingToolError, match=r"apt install g\+\+.*`simulator` to icarus"):
        ModelBuilder(sandbox, Path("/usr/share/verilator"))
    with pytest.raises(MissingToolError, match=r"apt install verilator.*`simulator` to icarus"):
        IcarusBackend(simulator="verilator")


def test_a_broken_reference_names_the_simulator(simulate, tasks):
    alu = tasks["alu"]
    broken = replace(alu, reference=alu.reference.replace("endcase", ""))
    with pytest.raises(ToolError, match=r"task alu: the reference does not pass on Verilator \S+: .*syntax"):
        simulate(broken, alu.reference)
