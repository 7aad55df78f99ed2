"""Variants mean the same: they pass for real, keep the interface, and differ from each other."""

from random import Random

from ecot.synthesis.mechanical.variation import vary
from ecot.synthesis.mechanical.variation.names import rename_internals
from ecot.synthesis.mechanical.variation.order import reorder_items
from ecot.synthesis.mechanical.variation.style import comment_processes, strip_comments
from ecot.synthesis.verilog.design import PORTS, Role, read_design


def interface(code):
    return [(item.name, item.role, item.width) for item in read_design(code).having(*PORTS, Role.PARAMETER)]


def test_variants_of_every_task_pass_on_the_real_tool(tasks, execute):
    """A variant that does not pass is never used; this holds that nearly all of them can be."""
    failed = []
    for number, task in enumerate(tasks.values()):
        code = vary(task, Random(number))
        assert not read_design(code).tree.has_errors
        assert interface(code) == interface(task.reference)
        if number % 2 and not execute(task, code).passed:
            failed.append(task.id)
    assert len(failed) <= 1, failed


def test_variants_differ_and_are_reproducible(tasks):
    for task in tasks.values():
        texts = [vary(task, Random(seed)) for seed in range(6)]
        assert len(set(texts)) >= 4, task.id
        assert texts == [vary(task, Random(seed)) for seed in range(6)]


def test_renaming_is_consistent_and_spares_what_the_specification_names(counter):
    for seed in range(20):
        text = rename_internals(counter, "the value `following` is seen", Random(seed))
        assert interface(text) == interface(counter)
        assert text.count("following") == counter.count("following")
    renamed = {rename_internals(counter.replace("following", "next_count"), "", Random(seed)) for seed in range(20)}
    assert len(renamed) > 4
    for text in renamed:
        (signal,) = read_design(text).having(Role.SIGNAL)
        assert text.replace(signal.name, "following") == counter
        assert signal.name not in {"count", "full", "odd"}


def test_items_move_only_among_their_own_kind(counter):
    texts = {reorder_items(counter, Random(seed)) for seed in range(20)}
    assert len(texts) == 4, "two assignments and two always blocks, each pair in two orders"
    first, second = "assign full = (count == LAST);", "assign odd  = count[0];"
    assert counter.replace(first, "@@").replace(second, first).replace("@@", second) in texts
    for text in texts:
        assert sorted(text.split("\n")) == sorted(counter.split("\n"))
        assert text.index("logic [WIDTH-1:0] following") < text.index("assign") < text.index("always")


def test_comments_go_without_a_trace(counter):
    commented = "// head\n" + counter.replace("always_comb", "// over\n    always_comb").replace(
        "= count[0];", "= count[0]; // beside"
    )
    assert strip_comments(commented) == counter


def test_remarks_name_what_a_process_writes(counter):
    text = comment_processes(counter, Random(1))
    assert strip_comments(text) == counter
    remarks = [line.strip() for line in text.split("\n") if "//" in line]
    assert len(remarks) == 2
    assert "following" in remarks[0]
    assert "count" in remarks[1]
