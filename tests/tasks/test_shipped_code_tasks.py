"""The shipped tasks of code optimisation and of Python: complete in prose, and wrong in different ways."""

import re

import pytest

from ecot.backends.code_optimization.settings import read_plan, read_settings
from ecot.backends.general.settings import read_settings as read_general_settings
from ecot.outcomes import Domain, Label
from ecot.tasks.registry import load_tasks

CODE = load_tasks("builtin:code_optimization")
GENERAL = load_tasks("builtin:general")
BOTH = {**CODE, **GENERAL}


def test_there_are_enough_of_them():
    assert len(CODE) >= 40 and len(GENERAL) >= 40
    assert sum(task.language == "asm" for task in CODE.values()) >= 15
    for tasks in (CODE, GENERAL):
        assert {task.difficulty for task in tasks.values()} == {"easy", "medium", "hard"}


@pytest.mark.parametrize("task", BOTH.values(), ids=BOTH.keys())
def test_a_task_is_complete(task):
    assert task.domain in (Domain.CODE_OPTIMIZATION, Domain.GENERAL)
    assert task.entry == task.id and task.tags and task.title
    assert f"`{task.entry}" in task.spec and 60 <= len(task.spec.split()) <= 330
    assert all(len(line) <= 250 for text in (task.reference, *task.hidden.values()) for line in text.splitlines())


@pytest.mark.parametrize("task", BOTH.values(), ids=BOTH.keys())
def test_wrong_candidates_are_of_different_kinds(task):
    assert len(task.wrong) >= 3
    assert len({(wrong.label, wrong.subcode) for wrong in task.wrong}) >= 2
    assert any(wrong.label in (Label.FUNCTIONAL_MISMATCH, Label.NUMERIC_MISMATCH) for wrong in task.wrong)
    assert len({wrong.code for wrong in task.wrong} | {task.reference}) == len(task.wrong) + 1


@pytest.mark.parametrize("task", CODE.values(), ids=CODE.keys())
def test_the_specification_tells_the_threshold_and_the_plan_names_the_arguments(task):
    assert f"at most {round(read_settings(task).max_ratio * 100)} % of the instructions" in " ".join(task.spec.split())
    baseline = task.environment["baseline.c"]
    declared = re.search(rf"\b{task.entry}\(([^)]*)\)", baseline)
    assert declared is not None
    given = [argument.scalar or argument.buffer for argument in read_plan(task).arguments]
    # A string tells its length by its end: the plan needs a number for it, the function does not.
    assert len(given) - (task.id == "string_length") == len(declared[1].split(","))


@pytest.mark.parametrize("task", GENERAL.values(), ids=GENERAL.keys())
def test_python_tasks_draw_their_cases(task):
    read_general_settings(task)
    assert "def cases(rng):" in task.hidden["cases.py"] and re.search(r"rng\.\w+", task.hidden["cases.py"])
    assert re.search(rf"^def {task.entry}\(", task.reference, re.MULTILINE)
