"""The shipped GPU tasks: complete in prose, honest in their tests, and every candidate gets the label written down."""

import asyncio

import pytest

from ecot.backends.verify import verify_tasks
from ecot.outcomes import Domain, Label
from ecot.tasks.registry import load_tasks

TASKS = load_tasks("builtin:gpu_optimization")


def test_there_are_enough_of_them():
    assert len(TASKS) >= 40
    assert sum(task.language == "cuda" for task in TASKS.values()) >= 10
    assert sum(task.language == "python" for task in TASKS.values()) >= 30
    assert {task.difficulty for task in TASKS.values()} == {"easy", "medium", "hard"}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_task_is_complete(task):
    assert task.domain is Domain.GPU_OPTIMIZATION and task.tags and task.title
    assert f"`{task.entry}(" in task.spec
    assert 60 <= len(task.spec.split()) <= 330
    assert all(len(line) <= 140 for line in task.reference.splitlines())
    if task.language == "cuda":
        for launch in task.settings["launches"]:
            assert f"`{launch['kernel']}`" in task.spec
    # More than one case, so that no constant answer and no remembered shape passes.
    assert "CASES = [" in task.hidden["oracle.py"] and task.hidden["oracle.py"].count('{"') >= 2


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_wrong_candidates_are_of_different_kinds(task):
    assert len(task.wrong) >= 3
    assert len({(wrong.label, wrong.subcode) for wrong in task.wrong}) >= 2
    assert any(wrong.label in (Label.NUMERIC_MISMATCH, Label.FUNCTIONAL_MISMATCH) for wrong in task.wrong)
    assert len({wrong.code for wrong in task.wrong} | {task.reference}) == len(task.wrong) + 1


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_every_candidate_gets_its_label(task, started):
    (verified,) = asyncio.run(verify_tasks({task.id: task}, started("gpu", device="cpu")))
    assert verified.as_expected, verified.describe()
