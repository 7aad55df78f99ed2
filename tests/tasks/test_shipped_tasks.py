"""The shipped tasks are what a task should be: complete in prose, rich in structure, honest in their tests."""

import re

import pytest

from ecot.outcomes import Domain, Label
from ecot.tasks.registry import load_tasks

TASKS = load_tasks("builtin:chip_design")


def test_there_are_enough_of_them():
    assert len(TASKS) >= 40
    assert {
        "alu",
        "sync_fifo",
        "uart_tx",
        "round_robin_arbiter",
        "crc8",
        "sequence_detector",
        "adder_carry",
    } <= set(TASKS)
    assert {task.difficulty for task in TASKS.values()} == {"easy", "medium", "hard"}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_task_is_complete(task):
    assert task.domain is Domain.CHIP_DESIGN and task.language == "systemverilog"
    assert task.entry == task.id and task.tags and task.title
    words = task.spec.split()
    assert 100 <= len(words) <= 300
    assert f"`{task.entry}`" in task.spec
    lines = task.reference.count("\n")
    assert 15 <= lines <= 80
    assert all(len(line) <= 120 for text in (task.reference, *task.hidden.values()) for line in text.splitlines())


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_every_port_and_parameter_is_specified(task):
    header = task.reference[: task.reference.index(");")]
    ports = re.findall(r"(?:input|output)\s+logic\s*(?:signed)?\s*(?:\[[^\]]*\])?\s*(\w+)", header)
    parameters = re.findall(r"parameter\s+(?:int|logic \[\d+:0\])\s+(\w+)", header)
    assert len(ports) >= 4
    for name in (*ports, *parameters):
        assert re.search(rf"`{name}`|\*\*`{name}`", task.spec), f"{task.id}: {name} is not in the specification"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_the_testbench_has_a_model_of_its_own(task):
    """It instantiates the candidate once, draws stimuli, and neither prints nor ends by itself."""
    bench = task.hidden["testbench.sv"]
    assert len(re.findall(rf"^\s*{task.entry}\b.*?\bdut\b", bench, re.MULTILINE)) == 1
    assert "random_word()" in bench and "finish_test();" in bench and "end_sample();" in bench
    assert not re.search(r"\$(display|write|finish|random|urandom)", bench)
    outputs = re.findall(r"output\s+logic\s*(?:signed)?\s*(?:\[[^\]]*\])?\s*(\w+)", task.reference)
    checked = set(re.findall(r"`CHECK\((\d+), (\w+),", bench))
    signals = {signal for _, signal in checked}
    # Every slot belongs to one signal, and every output is connected to a signal that is checked.
    assert len({slot for slot, _ in checked}) == len(checked)
    for name in outputs:
        connected = re.search(rf"\.{name}\((\w+)\)", bench)
        assert connected and connected[1] in signals, f"{task.id}: {name} is not checked"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_wrong_candidates_are_of_different_kinds(task):
    assert len(task.wrong) >= 3
    kinds = {(wrong.label, wrong.subcode) for wrong in task.wrong}
    assert len(kinds) >= 2
    assert any(wrong.label is Label.FUNCTIONAL_MISMATCH for wrong in task.wrong)
    assert len({wrong.code for wrong in task.wrong} | {task.reference}) == len(task.wrong) + 1
