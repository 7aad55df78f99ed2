"""Fault operators: typed edits at spans of the syntax tree, reproducible, apart from each other, and really wrong."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecot.outcomes import Label
from ecot.synthesis.faults import OPERATORS, Edit, Family, FaultStack, choose_edit
from ecot.synthesis.faults.places import misspell
from ecot.synthesis.verilog.design import read_design
from ecot.synthesis.verilog.syntax import parse

ABSENT = {"rename_connection", "drop_connection"}
"""Operators on instances; no shipped reference has one."""

HIERARCHY = """\
module half(input a, input b, output s);
  assign s = a ^ b;
endmodule
module top(input x, input y, input z, output sum);
  wire t;
  half u0 (.a(x), .b(y), .s(t));
  half u1 (.a(t), .b(z), .s(sum));
endmodule
"""


def edits_of(operator, code, seed=0):
    return OPERATORS[operator].propose(read_design(code), Random(seed))


def faulty(code, edit):
    return FaultStack(code, (edit,)).text([edit])


def test_there_are_operators_of_every_family():
    families = [operator.family for operator in OPERATORS.values()]
    assert len(families) >= 18
    assert all(families.count(family) >= 5 for family in Family)
    assert all(operator.note.endswith(".") for operator in OPERATORS.values())


def test_every_operator_finds_places_in_the_shipped_references(tasks):
    found = {
        id
        for id in OPERATORS
        for task in tasks.values()
        if OPERATORS[id].propose(read_design(task.reference), Random(0))
    }
    assert set(OPERATORS) - found <= ABSENT


@pytest.mark.parametrize("operator", sorted(ABSENT))
def test_operators_on_instances_find_connections(operator):
    edit = edits_of(operator, HIERARCHY)[0]
    assert faulty(HIERARCHY, edit) != HIERARCHY
    assert "u0" not in edit.identifiers


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_edits_replace_what_stands_at_their_span(operator, tasks):
    for task in tasks.values():
        code = task.reference
        data = code.encode()
        for edit in edits_of(operator, code):
            assert data[edit.start : edit.end].decode() == edit.old
            assert edit.old != edit.new
            assert code.split("\n")[edit.line - 1].strip(), "an edit's line holds code"
            text = faulty(code, edit)
            assert text.encode() == data[: edit.start] + edit.new.encode() + data[edit.end :]
            assert edit.targets <= set(read_design(code).names)


@pytest.mark.parametrize("operator", sorted(set(OPERATORS) - ABSENT))
def test_equal_seeds_give_equal_edits(operator, tasks):
    for task in tasks.values():
        assert edits_of(operator, task.reference, 3) == edits_of(operator, task.reference, 3)


def test_syntax_faults_break_the_grammar(tasks):
    """tree-sitter is an independent judge of the grammar, if a lenient one: it may mend a lost token in silence."""
    broken = total = 0
    for operator in OPERATORS.values():
        for task in tasks.values():
            edits = operator.propose(read_design(task.reference), Random(1))
            for edit in Random(task.id).sample(edits, min(2, len(edits))):
                if operator.family is Family.SYNTAX and operator.id not in ("single_equals", "drop_assign"):
                    total += 1
                    broken += parse(faulty(task.reference, edit)).has_errors
                elif operator.family is Family.BEHAVIOUR:
                    assert not parse(faulty(task.reference, edit)).has_errors, (operator.id, task.id, edit)
    assert total > 200
    assert broken > 0.85 * total


EXAMPLES = [
    ("drop_semicolon", "assign odd  = count[0];", "assign odd  = count[0]"),
    ("single_equals", None, None),
    ("drop_assign", "assign odd  = count[0];", "odd  = count[0];"),
    ("wrong_edge", "@(posedge clk)", "@(negedge clk)"),
    ("swap_choices", "full ? 4'd0 : count + 4'd1", "full ? count + 4'd1 : 4'd0"),
    ("drop_default", "        following = count;\n", ""),
    ("wire_in_process", "output logic [WIDTH-1:0] count", "output wire [WIDTH-1:0] count"),
    ("invert_condition", "if (enable)", "if (!enable)"),
    ("wrong_comparison", "count == LAST", "count != LAST"),
    ("wrong_operator", "count + 4'd1", "count - 4'd1"),
    ("wrong_index", "count[0]", "count[1]"),
    ("wrong_declared_width", "logic [WIDTH-1:0] following", "logic [WIDTH-2:0] following"),
    ("drop_declaration", "    logic [WIDTH-1:0] following;\n", ""),
    ("wrong_base", None, None),
]


@pytest.mark.parametrize(("operator", "right", "wrong"), EXAMPLES)
def test_an_operator_can_make_the_mistake_that_its_name_says(counter, operator, right, wrong):
    texts = {faulty(counter, edit) for edit in edits_of(operator, counter)}
    if right is None:
        assert not texts, "the counter gives this operator no place"
    else:
        assert counter.replace(right, wrong, 1) in texts


def test_a_branch_swap_leaves_the_condition_alone(counter):
    (edit,) = edits_of("swap_branches", counter)
    text = faulty(counter, edit)
    assert text.index("count <= following") < text.index("end else begin") < text.index("count <= 4'd0")
    assert text.count("if (rst) begin") == 1


@given(st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True), st.integers(0, 99))
def test_a_misspelling_is_another_free_identifier(word, seed):
    taken = frozenset({word, word[:-1], word + word[-1]})
    wrong = misspell(word, taken, Random(seed))
    assert wrong not in taken
    assert wrong.isidentifier()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_stacks_place_their_edits_where_they_stand(counter, data):
    """Offsets and lines against a text in which every edit is marked by a character of its own."""
    design = read_design(counter)
    seed = data.draw(st.integers(0, 10_000))
    rng = Random(seed)
    edits: list[Edit] = []
    for _ in range(4):
        edit = choose_edit(design, OPERATORS[rng.choice(sorted(set(OPERATORS) - ABSENT))], rng, edits)
        if edit is not None:
            edits.append(edit)
    stack = FaultStack(counter, tuple(sorted(edits, key=lambda edit: edit.start)))
    applied = [edit for edit in stack.edits if rng.random() < 0.6]
    text = stack.text(applied)
    marked, at = "", 0
    for number, edit in enumerate(stack.edits):
        marked += counter[at : edit.start] + chr(0xE000 + number) + (edit.new if edit in applied else edit.old)
        at = edit.end
    marked += counter[at:]
    for number, edit in enumerate(stack.edits):
        before = marked[: marked.index(chr(0xE000 + number))]
        clean = "".join(c for c in before if c < "\ue000")
        place = stack.place(edit, applied)
        assert place.start == len(clean)
        assert place.first_line == clean.count("\n") + 1
        assert text[place.start : place.end] == (edit.new if edit in applied else edit.old)
    assert stack.text([]) == counter
    assert text == "".join(c for c in marked if c < "\ue000")


def test_chosen_edits_keep_away_from_each_other(counter):
    design = read_design(counter)
    for seed in range(30):
        rng = Random(seed)
        first = choose_edit(design, OPERATORS["misspell_use"], rng)
        second = choose_edit(design, OPERATORS["drop_semicolon"], rng, [first])
        assert abs(first.line - second.line) > 1


FAMILY_LABELS = {
    Family.SYNTAX: {("COMPILATION_ERROR", "syntax")},
    Family.ELABORATION: {
        ("COMPILATION_ERROR", "elaboration"),
        ("COMPILATION_ERROR", "unsupported"),
        ("COMPILATION_ERROR", "syntax"),
        ("FUNCTIONAL_MISMATCH", ""),
        ("RUNTIME_ERROR", "undefined_task"),
        ("PASS", ""),
    },
    Family.BEHAVIOUR: {
        ("FUNCTIONAL_MISMATCH", ""),
        ("COMPILATION_ERROR", "elaboration"),
        ("PASS", ""),
        ("TIMEOUT", "run"),
    },
}


@pytest.mark.parametrize("operator", sorted(set(OPERATORS) - ABSENT))
def test_the_real_tool_answers_as_the_family_promises(operator, tasks, execute):
    chosen = OPERATORS[operator]
    labels = []
    for task in sorted(tasks.values(), key=lambda task: len(task.reference)):
        edits = chosen.propose(read_design(task.reference), Random(2))
        if edits:
            execution = execute(task, faulty(task.reference, edits[len(edits) // 2]))
            labels.append((str(execution.label), execution.subcode))
        if labels:
            break
    assert labels
    assert set(labels) <= FAMILY_LABELS[chosen.family]
    assert (str(Label.PASS), "") not in labels or chosen.family is not Family.SYNTAX
