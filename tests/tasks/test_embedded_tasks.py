"""The shipped firmware tasks: complete in prose, different from each other, and verified on the real tools."""

import asyncio
import re

import pytest

from ecot.backends.verify import verify_tasks
from ecot.outcomes import Domain, Label
from ecot.tasks.registry import load_tasks

TASKS = load_tasks("builtin:embedded")


@pytest.fixture(scope="module")
def verified(thinned, started):
    return {task.id: task for task in asyncio.run(verify_tasks(thinned(TASKS), started("stm32")))}


def test_there_are_enough_of_them():
    assert len(TASKS) >= 40
    assert {task.difficulty for task in TASKS.values()} == {"easy", "medium", "hard"}
    assert len({tag for task in TASKS.values() for tag in task.tags}) >= 40


@pytest.mark.parametrize("name", TASKS)
def test_reference_and_wrong_candidates_are_labelled_as_written_down(verified, name):
    assert verified[name].as_expected, verified[name].describe()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_task_is_complete(task):
    assert task.domain is Domain.EMBEDDED and task.language == "c" and task.entry == task.id and task.tags
    header = task.environment[f"{task.id}.h"]
    assert 70 <= len(task.spec.split()) <= 420 and f"{task.id}.h" in task.spec
    prototypes = re.findall(r"^[\w][\w *]*?(\w+)\((?!\*)[^;{]*\);$", header, re.MULTILINE)
    assert prototypes
    for name in prototypes:
        assert f"{name}(" in task.spec, f"{task.id}: {name} is not in the specification"
    bench = task.hidden["bench.c"]
    assert "test_case(" in bench and "out_" in bench
    assert "draw" in bench or "usart2_input" in task.settings


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_wrong_candidates_are_of_different_kinds(task):
    assert len(task.wrong) >= 3
    assert len({(wrong.label, wrong.subcode) for wrong in task.wrong}) >= 2
    assert any(wrong.label is Label.FUNCTIONAL_MISMATCH for wrong in task.wrong)
    assert len({wrong.code for wrong in task.wrong} | {task.reference}) == len(task.wrong) + 1
