"""The parts that keep a verdict from being forged: renaming, nonces, screening, reading."""

import re
from dataclasses import replace

import pytest

from ecot.backends.chip_design.harness import make_bench
from ecot.backends.chip_design.lexer import KEYWORDS, TokenKind, header_identifiers, tokenise
from ecot.backends.chip_design.screening import refused_calls, system_calls, unknown_calls
from ecot.backends.chip_design.verdict import has_spoofed_verdict, literal, read_verdict
from ecot.errors import DataError

NONCE = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "source",
    [
        "module m; endmodule",
        'initial $display("a // no comment \\" still", x); // comment "no string',
        "wire [7:0] a = 8'hFF, b = 'x, c = 16 'd 3, \\esc+aped = `M(1) /* open",
        '"unterminated',
        "\0\x7fé`",
        "",
    ],
)
def test_tokens_joined_give_the_source_back(source):
    assert "".join(token.text for token in tokenise(source)) == source


def test_tokens_are_told_apart():
    source = "`define X 1 // c\n$display(\"s\") 8'hAb 'x 5ns \\a$b foo$1 = 4'b1_0xz;"
    kinds = [(token.kind, token.text) for token in tokenise(source) if token.kind is not TokenKind.SPACE]
    assert kinds == [
        (TokenKind.DIRECTIVE, "`define"),
        (TokenKind.WORD, "X"),
        (TokenKind.NUMBER, "1"),
        (TokenKind.COMMENT, "// c"),
        (TokenKind.SYSTEM, "$display"),
        (TokenKind.SYMBOL, "("),
        (TokenKind.STRING, '"s"'),
        (TokenKind.SYMBOL, ")"),
        (TokenKind.NUMBER, "8'hAb"),
        (TokenKind.NUMBER, "'x"),
        (TokenKind.NUMBER, "5ns"),
        (TokenKind.ESCAPED, "\\a$b"),
        (TokenKind.WORD, "foo$1"),
        (TokenKind.SYMBOL, "="),
        (TokenKind.NUMBER, "4'b1_0xz"),
        (TokenKind.SYMBOL, ";"),
    ]


def test_the_header_names_ports_and_parameters():
    source = """
        module other (input z); endmodule
        module m #(parameter int W = $clog2(8)) ( // a comment
            input logic [W-1:0] a, output reg b);
        wire inner;
        endmodule
    """
    assert header_identifiers(source, "m") == {"W", "a", "b"}
    assert header_identifiers(source, "absent") is None


def names_in(text):
    return {token.text for token in tokenise(text) if token.kind is TokenKind.WORD} - KEYWORDS


def test_every_identifier_of_a_testbench_is_hidden(tasks):
    """Left as they are: the candidate's module, its ports and parameters, and names of macros, which are undefined."""
    for task in tasks.values():
        bench = make_bench(task, task.reference, b"secret")
        macros = set(re.findall(r"`undef (\w+)", bench.text))
        assert macros == set(re.findall(r"`define\s+(\w+)", bench.text))
        interface = header_identifiers(task.reference, task.entry) | {task.entry}
        plain = {name for name in names_in(bench.text) if not name.endswith(bench.suffix)} - macros
        assert plain <= interface, task.id
        assert "//" not in bench.text and "ECOT_" not in bench.text and "\0" not in bench.text
        # The verdict's stamp stands in the text and nowhere else is it made known.
        assert bench.text.count(bench.nonce) == 2 and bench.folder not in bench.text
        assert len({bench.nonce[:8], bench.suffix[1:9], bench.folder.removeprefix("harness")[:8]}) == 3


def test_scopes_of_a_testbench_are_never_named_like_a_port(tasks):
    """A port's name keeps its spelling, so a task, function or instance of that name could be reached from below."""
    for task in tasks.values():
        interface = header_identifiers(task.reference, task.entry)
        text = "\n".join(task.hidden.values())
        scopes = set(re.findall(r"\b(?:task|function)\b[^;(]*?(\w+)\s*[;(]", text))
        scopes |= set(re.findall(r"\bbegin\s*:\s*(\w+)", text)) | set(re.findall(r"\)\s*(\w+)\s*\(\s*\.", text))
        assert not scopes & interface, task.id


def test_names_stimuli_and_nonce_depend_on_secret_task_and_code(tasks):
    alu, pwm = tasks["alu"], tasks["pwm"]
    benches = [
        make_bench(alu, "a", b"s"),
        make_bench(alu, "b", b"s"),
        make_bench(pwm, "a", b"s"),
        make_bench(alu, "a", b"t"),
    ]
    for values in ([b.suffix for b in benches], [b.nonce for b in benches], [b.folder for b in benches]):
        assert len(set(values)) == 4
    seeds = {re.search(r"32'h[0-9a-f]{8}", bench.text)[0] for bench in benches}
    assert len(seeds) == 4
    assert make_bench(alu, "a", b"s") == benches[0]
    # A candidate that has learnt its names is another candidate.
    assert make_bench(alu, "a" + benches[0].suffix, b"s").suffix != benches[0].suffix


def test_a_task_without_testbench_is_refused(tasks):
    with pytest.raises(DataError, match=r"no hidden file 'testbench\.sv'"):
        make_bench(replace(tasks["alu"], hidden={"other.sv": ""}), "", b"s")


PROGRAM = """\
#! /usr/bin/vvp
:vpi_module "/usr/lib/x86_64-linux-gnu/ivl/system.vpi";
v0x1 .net "$fopen", 0 0, L_0x2;  1 drivers
L_0x3 .sfunc/e 3 1 "$random", E_0x4, "v32";
L_0x5 .sfunc 3 1 "$fgetc", "v32v8", o0x6;
    %vpi_call/w 3 1 "$display", "a\\042 %vpi_call 3 1 $system b\\012", "c" {0 0 0};
    %vpi_func 4 1 "$fopen" 32, "x" {0 0 0};
    %vpi_func/s 4 1 "$value$plusargs" 32, "x" {0 0 0};
    %force/vec4 v0x7;
    %release/net v0x7, 0, 1;
    %forcex;
    %vpi_call 4 1 "$past" {0 0 0};
"""


def test_calls_are_read_from_the_program_not_from_its_strings():
    calls = system_calls(PROGRAM)
    assert calls == {"$random", "$fgetc", "$display", "$fopen", "$value$plusargs", "force", "release", "$past"}
    assert refused_calls(calls) == ["$fgetc", "$fopen", "$value$plusargs", "force", "release"]
    assert unknown_calls(calls) == ["$past"]


def test_a_call_in_an_unknown_form_is_refused():
    assert refused_calls(system_calls("    %vpi_call_new_form $display;\n")) == ["$unrecognised_call"]


def verdict_text(*lines):
    return "".join(f"ecot-verdict {NONCE} {line}\n" for line in lines)


def test_a_verdict_is_read_in_full():
    text = "noise\nunfinished" + verdict_text(
        "output q 4 0 0 0000x 0000x ",
        "output sum 8 7 125 0003a 000xZ a=1 b=2",
        "output carry 1 2 95 00001 0000X a=0",
        "total 200 8",
    )
    verdict = read_verdict(text, NONCE)
    assert (verdict.samples, verdict.mismatches) == (200, 8)
    assert [record.signal for record in verdict.outputs] == ["q", "sum", "carry"]
    assert (verdict.outputs[1].want, verdict.outputs[1].got, verdict.outputs[1].inputs) == ("8'h3a", "8'hxZ", "a=1 b=2")
    assert verdict.first.signal == "carry" and verdict.first.first_time == 95
    assert verdict.first.got == "1'bx"


@pytest.mark.parametrize("stamp", ["ffffffffffffffffffffffffffffffff", "", NONCE[:-1]])
def test_a_verdict_without_the_nonce_is_none(stamp):
    text = f"ecot-verdict {stamp} total 200 0\n"
    assert read_verdict(text, NONCE) is None
    assert has_spoofed_verdict(text, NONCE)


def test_only_a_false_verdict_counts_as_spoofed():
    assert not has_spoofed_verdict("hello\n" + verdict_text("total 3 0"), NONCE)
    assert has_spoofed_verdict(verdict_text("total 3 0") + "ecot-verdict 12 total 3 0\n", NONCE)
    assert has_spoofed_verdict("Mismatches: 0 in 9 samples\n", NONCE)
    assert not has_spoofed_verdict("I count mismatches\n", NONCE)


@pytest.mark.parametrize(
    ("digits", "width", "shown"),
    [
        ("0000001f", 5, "5'h1f"),
        ("00000001", 1, "1'b1"),
        ("0000000X", 1, "1'bx"),
        ("000000Xx", 6, "6'hxx"),
        ("000000X3", 6, "6'hX3"),
        ("000000Zz", 7, "7'hzz"),
        ("000000xx", 8, "8'hxx"),
        ("00abcdef", 24, "24'habcdef"),
        ("0000000X", 4, "4'hX"),
    ],
)
def test_values_are_written_as_literals_of_their_width(digits, width, shown):
    assert literal(digits, width) == shown
