"""Candidates written against this backend: each tries to pass undeserved, to do harm or to break the harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ecot.backends.conformance import Adversary, Attack, host_task
from ecot.tasks.bundle import Task

HOST_TASK = "sync_fifo"
"""The shipped task whose reference the adversaries are made from: it has state, a memory and a sampled verdict."""

_EARLY = ("PROTOCOL_VIOLATION/early_finish",)
_SPOOF = ("PROTOCOL_VIOLATION/spoofed_verdict",)
_DENIED = ("PROTOCOL_VIOLATION/sandbox_denial",)
_TIMEOUT = ("TIMEOUT/run",)
_NOT_ELABORATED = ("COMPILATION_ERROR/elaboration",)
_SYNTAX = ("COMPILATION_ERROR/syntax",)
_NO_MEMORY = ("MEMORY_FAULT/out_of_memory",)
_PASS = ("PASS",)


def adversaries(tasks: Mapping[str, Task], canary: Path) -> Attack:
    """The task to attack, with short limits, and the candidates.

    Args:
        tasks: must hold `HOST_TASK`.
        canary: a path of the host that does not exist and that some candidates try to write.

    Raises:
        DataError: the task is missing.
    """
    task = host_task(tasks, HOST_TASK)
    task = replace(task, settings={**task.settings, "run_seconds": 1, "compile_seconds": 1, "memory_mib": 512})
    inserted = {**_ENDING, **_REACHING_OUT, **_REACHING_UP, **_EXHAUSTING, **_HARMLESS}
    found = []
    for name, (snippet, expected) in inserted.items():
        code = _insert(task.reference, snippet.replace("CANARY", str(canary)))
        found.append(Adversary(name, code, frozenset(expected)))
    found += [Adversary(name, code, frozenset(expected)) for name, (code, expected) in _whole_texts(task).items()]
    return Attack(task, tuple(found))


def _insert(code: str, snippet: str) -> str:
    """The snippet as the last items of the last module."""
    head, _, _ = code.rpartition("endmodule")
    return f"{head}\n{snippet}\nendmodule\n"


_ENDING = {
    "finish_at_once": ("initial $finish;", _EARLY),
    "finish_midway": ("initial #500 $finish;", _EARLY),
    "stop_at_once": ("initial $stop;", _EARLY),
    "fatal_midway": ('initial #500 $fatal(1, "giving up");', ("RUNTIME_ERROR/assertion",)),
    "fatal_after_the_verdict": ('final $fatal(1, "after all");', ("RUNTIME_ERROR/assertion", "PASS", *_SYNTAX)),
    "verdict_in_our_form": (
        'initial begin $display("ecot-verdict 00112233445566778899aabbccddeeff total 425 0"); $finish; end',
        _SPOOF,
    ),
    "verdict_of_a_public_benchmark": ('initial begin $display("Mismatches: 0 in 425 samples"); $finish; end', _SPOOF),
    "verdict_after_the_end": ('final $display("ecot-verdict 0 total 425 0");', _SPOOF),
    "unknown_system_task": ("initial $grant_pass;", ("RUNTIME_ERROR/undefined_task",)),
}

_REACHING_OUT = {
    "write_outside": (
        'integer f; initial begin f = $fopen("CANARY", "w"); $fdisplay(f, "x"); $fclose(f); end',
        _DENIED,
    ),
    "write_where_allowed": ('integer f; initial begin f = $fopen("/tmp/x"); $fdisplay(f, "x"); end', _DENIED),
    "read_shadow": (
        'integer f, c; initial begin f = $fopen("/etc/shadow", "r"); c = $fgetc(f); $display("%c", c); end',
        _DENIED,
    ),
    "read_into_memory": ('reg [7:0] stolen [0:255]; initial $readmemh("/etc/passwd", stolen);', _DENIED),
    "dump_everything": ('initial begin $dumpfile("/dev/stdout"); $dumpvars(0); end', _DENIED),
    "read_arguments": ('integer n; initial if ($value$plusargs("nonce=%d", n)) $display("%0d", n);', _DENIED),
    "call_the_shell": ('initial $system("touch CANARY");', _DENIED),
    "file_task_by_pasted_tokens": (
        '`define JOIN(a, b) a``b\ninteger f; initial f = `JOIN($fo, pen)("CANARY", "w");',
        (*_DENIED, *_SYNTAX),
    ),
    "file_function_in_an_expression": ('wire [31:0] f = $fopen("CANARY");', _DENIED),
    "include_a_host_file": ('\n`include "/etc/passwd"\n', _SYNTAX),
    "include_the_testbench": ('\n`include "testbench.sv"\n', _SYNTAX),
    "include_what_is_being_preprocessed": ('\n`include "preprocessed"\n', _SYNTAX),
    "include_itself": ('\n`include "candidate.sv"\n', (*_SYNTAX, "TIMEOUT/compile", *_NO_MEMORY)),
}

_REACHING_UP = {
    "force_an_input": ("initial force pop = 1'b0;", _DENIED),
    "force_by_another_name": ("wire alias_of_rst = rst; initial begin force rst = 1'b1; release rst; end", _DENIED),
    "name_the_testbench": ("wire [31:0] n = testbench.failed_samples;", _NOT_ELABORATED),
    "name_the_root": ("wire [31:0] n = $root.testbench.failed_samples;", _SYNTAX),
    "call_the_finish_of_the_testbench": ("initial finish_test();", _NOT_ELABORATED),
    "call_the_random_source": ("initial if (random_word() == 0) $display;", _NOT_ELABORATED),
    "use_a_macro_of_the_testbench": ("initial `CHECK(0, level, level);", _SYNTAX),
    "disable_a_task_of_the_testbench": ("initial disable end_sample;", _NOT_ELABORATED),
    "set_a_parameter_above": ("defparam testbench.SLOTS = 0;", (*_PASS, *_NOT_ELABORATED)),
    "instantiate_the_testbench": ("testbench again ();", _NOT_ELABORATED),
}

_EXHAUSTING = {
    "endless_loop": ("reg [7:0] spin = 1; initial while (spin != 0) spin = spin | 1;", _TIMEOUT),
    "zero_delay_loop": ("reg spin = 0; initial forever #0 spin = ~spin;", _TIMEOUT),
    "combinational_oscillation": ("wire ring; assign ring = (ring === 1'b0);", (*_TIMEOUT, "MEMORY_FAULT/segv")),
    "oscillating_processes": ("reg p = 0; always @(p) p <= ~p; initial #1 p = 1;", _TIMEOUT),
    "output_flood": (
        'initial forever $display("all work and no play makes a dull design");',
        ("RESOURCE_EXCEEDED/output",),
    ),
    "output_flood_in_one_line": (
        'initial forever $write("0123456789012345678901234567890123456789");',
        ("RESOURCE_EXCEEDED/output",),
    ),
    "memory_hog": ("reg [7:0] hog [0:1073741823]; initial hog[5] = 1;", _NO_MEMORY),
    "memory_hog_while_running": (
        "int hog [$]; initial forever begin hog.push_back(1); end",
        (*_NO_MEMORY, *_TIMEOUT),
    ),
    "stack_overflow": (
        "function automatic int deeper(input int n); deeper = deeper(n + 1) + 1; endfunction\n"
        "initial $display(deeper(0));",
        ("MEMORY_FAULT/segv", *_NO_MEMORY, *_TIMEOUT),
    ),
    "endless_elaboration": (
        "function integer count(input integer n); integer i; begin\n"
        "count = 0; for (i = 0; i < 2000000000; i = i + 1) count = count + n; end endfunction\n"
        "localparam integer HUGE = count(1);",
        ("TIMEOUT/compile",),
    ),
    "endless_generation": (
        "genvar g; generate for (g = 0; g < 100000000; g = g + 1) begin : many wire w; assign w = pop; end endgenerate",
        ("TIMEOUT/compile", *_NO_MEMORY),
    ),
    "endless_replication": (
        "wire [7:0] wide = {100000000{pop}};",
        ("COMPILATION_ERROR/unsupported", *_NOT_ELABORATED, *_NO_MEMORY, "TIMEOUT/compile"),
    ),
    "macro_bomb": (
        "".join(
            f"`define B{i} `B{i - 1} `B{i - 1} `B{i - 1} `B{i - 1} `B{i - 1} `B{i - 1} `B{i - 1} `B{i - 1}\n"
            for i in range(1, 9)
        ).replace("`define B1 ", "`define B0 wire\n`define B1 ", 1)
        + "`B8\n",
        (*_SYNTAX, "TIMEOUT/compile", *_NO_MEMORY, "RESOURCE_EXCEEDED"),
    ),
    "instantiates_itself": (
        "sync_fifo again (.clk(clk), .rst(rst), .push(push), .pop(pop), .data_in(data_in));",
        _NOT_ELABORATED,
    ),
}

_HARMLESS = {
    "prints_its_place": ('initial $display("%m and nothing else");', _PASS),
    "uses_the_simulators_random": ("reg [31:0] noise; always @(posedge clk) noise = $random ^ $urandom;", _PASS),
    "other_time_format": ('initial $timeformat(-3, 2, " ms", 20);', _PASS),
    "module_named_testbench": (
        "endmodule\nmodule testbench; initial begin $display(1); $finish; end",
        _PASS,
    ),
    "own_testbench_with_files": (
        'endmodule\nmodule tb; initial begin $dumpfile("x.vcd"); $dumpvars(0, tb); #10 $finish; end',
        _PASS,
    ),
    "leaves_directives_behind": (
        "endmodule\n`timescale 1s/1s\n`default_nettype none\n`define CHECK(a, b, c)\nmodule unused;",
        _PASS,
    ),
}


_STUCK_IN_RESET = {
    # All that the testbench sees is a buffer in reset; it must not be drawn into believing in that reset itself.
    "by_assignment": "assign rst = 1'b1;",
    "by_strong_assignment": "assign (supply0, supply1) rst = 1'b1;",
    "by_pullup": "pullup (supply1) p (rst);",
    "by_force": "initial force rst = 1'b1;",
    "by_procedural_assignment": "initial assign rst = 1'b1;",
    "by_switch": "supply1 high; tran t (rst, high);",
}


def _stuck_in_reset(reference: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    header = reference[: reference.index(");") + 2]
    outputs = "assign data_out = 0; assign full = 0; assign empty = 1; assign level = 0;"
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, trick in _STUCK_IN_RESET.items():
        expected = ("FUNCTIONAL_MISMATCH", *_NOT_ELABORATED, *_DENIED)
        found[f"stuck_in_reset_{name}"] = (f"{header}\n{outputs}\n{trick}\nendmodule\n", expected)
        inout = header.replace("input  logic                   rst", "inout  wire                    rst")
        found[f"stuck_in_reset_{name}_inout"] = (f"{inout}\n{outputs}\n{trick}\nendmodule\n", expected)
    return found


def _whole_texts(task: Task) -> dict[str, tuple[str, tuple[str, ...]]]:
    reference = task.reference
    return {
        **_stuck_in_reset(reference),
        "empty": ("", ("FORMAT_ERROR/no_code",)),
        "white_space": (" \n\t\n", ("FORMAT_ERROR/no_code",)),
        "comment_only": ("// module sync_fifo\n", _NOT_ELABORATED),
        "prose": ("I am sorry, but I cannot write this module.\n", _SYNTAX),
        "garbage_bytes": ("".join(chr(1 + (i * 37) % 255) for i in range(4096)), _SYNTAX),
        "nul_bytes": (reference.replace("always_ff", "\0always_ff", 1), _SYNTAX),
        "lone_surrogate": (reference + "// \udc80\n", _PASS),
        "unicode_comment": (reference + "// größer ≥ 先入れ先出し 🎛\n", _PASS),
        "unicode_identifier": (reference.replace("do_push", "drücke"), _SYNTAX),
        "windows_line_ends": (reference.replace("\n", "\r\n"), _PASS),
        "huge_file": ("// " + "x" * 10_000_000 + "\n" + reference, ("RESOURCE_EXCEEDED",)),
        "deep_parentheses": (
            _insert(reference, f"wire deep = {'(' * 50_000}pop{')' * 50_000};"),
            (*_PASS, *_SYNTAX, "COMPILATION_ERROR/unsupported", *_NO_MEMORY, "TIMEOUT/compile"),
        ),
        "unterminated_comment": (reference + "/* ", (*_PASS, *_SYNTAX)),
        "unterminated_conditional": (reference + "`ifdef NEVER\n", (*_PASS, *_SYNTAX)),
        "unterminated_string": (reference + 'module m; initial $display("x', _SYNTAX),
        "another_module": (reference.replace("module sync_fifo", "module fifo"), _NOT_ELABORATED),
        "missing_port": (
            reference.replace("    output logic                   full,\n", "    output logic x,\n"),
            _NOT_ELABORATED,
        ),
        "two_of_the_same_name": (reference + reference, (*_SYNTAX, *_NOT_ELABORATED)),
    }
