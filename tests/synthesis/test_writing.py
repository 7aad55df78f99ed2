"""Words from evidence: values, sentences of a specification, and causes that fit the code at hand."""

import re
import string
from dataclasses import replace
from random import Random

import pytest

from ecot.outcomes import Domain, Label
from ecot.synthesis.faults import OPERATORS, FaultStack, choose_edit
from ecot.synthesis.faults.places import is_reset
from ecot.synthesis.mechanical.diagnosis import Mismatch, Reading
from ecot.synthesis.mechanical.implication import Implication, Via
from ecot.synthesis.mechanical.writing.causes import CAUSES, SILENT_CAUSES
from ecot.synthesis.mechanical.writing.first import first_thinking, sketch_of
from ecot.synthesis.mechanical.writing.mismatch import describe_shared
from ecot.synthesis.mechanical.writing.specification import relevant, requirements, sentences
from ecot.synthesis.mechanical.writing.values import read_value, relation
from ecot.synthesis.mechanical.writing.voice import brief, listed, quote
from ecot.synthesis.verilog.design import read_design
from ecot.tasks.bundle import Task

SPEC = """\
Write a SystemVerilog module `m` with the inputs `a` and `op` (3 bits) and the output `result`.

The operation is chosen by `op`:

- 0: `result` = `a`
- 1: bitwise complement of `a`

`result` is a register. When `rst` is 1, `result` becomes 0; a second
clause goes on. It must hold 42 words.
"""


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        ("8'h0a", "8'h0b", "one too high"),
        ("4'h0", "4'hf", "inverted"),
        ("8'h10", "8'h0f", "one too low"),
        ("8'h7f", "8'h3f", "upper ones are lost"),
        ("8'h12", "8'h24", "twice"),
        ("8'h24", "8'h12", "half"),
        ("8'h50", "8'h52", "bit 1 differs"),
        ("8'h50", "8'h00", "zero"),
        ("4'h3", "4'hx", "x|[Uu]nknown"),
        ("4'h3", "4'hz", "z|impedance"),
        ("1'b1", "1'b0", "^$"),
        ("8'h53", "8'h2e", "^$"),
    ],
)
def test_two_values_are_compared_truly(expected, got, words):
    for seed in range(5):
        assert re.search(words, relation(read_value(expected), read_value(got), Random(seed)))


@pytest.mark.parametrize(
    ("text", "number", "width"),
    [("8'h0a", 10, 8), ("4'b1010", 10, 4), ("12", 12, None), ("12'hXx1", None, 12), ("4'd9", 9, 4), ("?", None, None)],
)
def test_values_are_read(text, number, width):
    value = read_value(text)
    assert (value.number, value.width) == (number, width)


def test_a_specification_falls_into_sentences():
    assert sentences(SPEC) == [
        "Write a SystemVerilog module `m` with the inputs `a` and `op` (3 bits) and the output `result`.",
        "0: `result` = `a`",
        "1: bitwise complement of `a`",
        "`result` is a register.",
        "When `rst` is 1, `result` becomes 0; a second clause goes on.",
        "It must hold 42 words.",
    ]


def test_the_sentence_that_speaks_of_a_name_is_found():
    assert relevant(SPEC, {"result"}, choices=["1"]) == "1: bitwise complement of `a`"
    assert relevant(SPEC, {"result"}) == "`result` is a register."
    assert relevant(SPEC, {"rst"}) == "When `rst` is 1, `result` becomes 0; a second clause goes on."
    assert relevant(SPEC, {"nothing"}) == ""


def test_requirements_say_when_and_never_list_ports():
    assert requirements(SPEC) == [
        "When `rst` is 1, `result` becomes 0; a second clause goes on.",
        "It must hold 42 words.",
    ]


def test_every_operator_has_causes_and_gives_their_fields(tasks):
    fields = {"line", "line_text", "new"}
    for id, operator in OPERATORS.items():
        wanted = {
            name
            for text in (*CAUSES[id], *SILENT_CAUSES.get(id, ()))
            for _, name, _, _ in string.Formatter().parse(text)
            if name
        }
        assert len(CAUSES[id]) >= 2
        for task in tasks.values():
            for edit in operator.propose(read_design(task.reference), Random(0)):
                assert wanted <= fields | set(edit.facts) | set(edit.anchors), (id, wanted)


def test_small_words():
    assert listed(["a", "b", "c"]) == "`a`, `b` and `c`"
    assert listed("abcdefg", limit=3) == "`a`, `b` and 5 more"
    assert listed([]) == ""
    assert brief("a  =\n b;") == "a = b;"
    assert len(brief("x" * 300)) <= 90
    assert quote("It is so.") == '"It is so"'


@pytest.mark.parametrize(
    ("name", "reset"), [("rst_n", True), ("a_reset", True), ("lsb_first", False), ("clear", False)]
)
def test_resets_are_known_by_their_names(name, reset):
    assert is_reset(name) is reset


def test_the_first_thinking_describes_the_design(counter):
    task = Task("t", Domain.CHIP_DESIGN, "Decade counter", "When `rst` is 1, `count` is 0.", "c", counter, "counter")
    for seed in range(20):
        text = first_thinking(task, sketch_of(FaultStack(counter, ()), ()), Random(seed))
        assert all(f"`{name}" in text for name in ("counter", "clk", "rst", "enable", "full", "odd"))
        assert '"When `rst` is 1, `count` is 0"' in text
        assert re.search(r"`posedge clk`", text)
        assert re.search(r"`rst` is sampled|synchronous reset by `rst`", text)
        assert not re.search(r"states|`LAST` is", text)


def test_the_first_thinking_never_contradicts_its_answer(tasks, contradictions):
    """Every operator that applies to a task, on the reference of each; the answer is the faulty text."""
    checked = 0
    for id, task in tasks.items():
        for name, operator in OPERATORS.items():
            edit = choose_edit(read_design(task.reference), operator, Random(f"{id}{name}"))
            if edit is None:
                continue
            stack = FaultStack(task.reference, (edit,))
            for seed in range(3):
                text = first_thinking(task, sketch_of(stack, stack.edits), Random(seed))
                assert contradictions(text, stack.text(stack.edits)) == [], (id, edit, text)
                checked += 1
    assert checked > 500


def test_a_rule_about_every_path_is_not_told_by_an_answer_that_breaks_it(tasks):
    rule = "gets a value on every path|every path has to assign"
    told = {True: 0, False: 0}
    for task in tasks.values():
        edit = choose_edit(read_design(task.reference), OPERATORS["drop_default"], Random(0))
        for edits in () if edit is None else ((), (edit,)):
            sketch = sketch_of(FaultStack(task.reference, edits), edits)
            texts = [first_thinking(task, sketch, Random(seed)) for seed in range(12)]
            told[bool(edits)] += sum(re.search(rule, text) is not None for text in texts)
    assert told[False] > 10 and told[True] == 0


SHARED = """\
module shared (input logic a, input logic b, output logic x, output logic y);
    logic both, either;
    assign both = a & b;
    assign either = a | b;
    assign x = both ^ either;
    assign y = both;
endmodule
"""


def test_shared_logic_is_called_sound_only_where_no_fault_is_in_it():
    edits = OPERATORS["wrong_operator"].propose(read_design(SHARED), Random(0))
    both, either = (next(e for e in edits if e.targets == {name}) for name in ("both", "either"))
    stack = FaultStack(SHARED, (both, either))
    failing = Mismatch("x", 3, 40, "1'b1", "1'b0")
    reading = Reading(Label.FUNCTIONAL_MISMATCH, "", "", mismatches=(failing,), healthy=("y",))
    implication = Implication(either, Via.CONE, 1, mismatch=failing)
    assert "`y`" in describe_shared(stack, (either,), reading, implication, Random(0))
    assert describe_shared(stack, (both, either), reading, implication, Random(0)) == ""
    nowhere = replace(both, targets=frozenset())
    assert (
        describe_shared(FaultStack(SHARED, (nowhere, either)), (nowhere, either), reading, implication, Random(0)) == ""
    )
