"""The shipped CAD tasks are what a task should be: complete in prose, inspected, honest in their tests."""

import re

import pytest

from ecot.backends.cad_3d.inspection import read_inspection
from ecot.backends.cad_3d.settings import read_settings
from ecot.outcomes import Domain, Label
from ecot.tasks.registry import load_tasks

TASKS = load_tasks("builtin:cad_3d")


def test_there_are_enough_of_them_and_they_differ():
    assert len(TASKS) >= 40
    assert {task.difficulty for task in TASKS.values()} == {"easy", "medium", "hard"}
    tags = {tag for task in TASKS.values() for tag in task.tags}
    assert {"flange", "bracket", "enclosure", "gear", "pulley", "heat_sink", "shaft", "keyway", "manifold"} <= tags
    assert {"sheet_metal", "loft", "sweep", "revolve", "pattern", "chamfer", "fillet", "shell", "thread"} <= tags
    assert len({task.reference for task in TASKS.values()}) == len(TASKS)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_task_is_complete(task):
    assert task.domain is Domain.CAD_3D and task.language == "python" and task.entry == "result"
    assert len(task.tags) >= 3 and task.title
    assert 80 <= len(task.spec.split()) <= 260
    assert "`result`" in task.spec and "millimetres" in task.spec
    assert f"at least {read_settings(task).iou:g}" in task.spec
    assert all(len(line) <= 120 for text in (task.spec, task.reference) for line in text.splitlines())


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_its_inspection_gauges_what_the_specification_says(task):
    plan = read_inspection(task)
    assert plan.solids == (read_settings(task).solids or 1)
    x0, x1, y0, y1, z0, z1 = plan.box_mm
    assert x0 < x1 and y0 < y1 and z0 < z1
    low, high = (x0, y0, z0), (x1, y1, z1)
    in_box = [all(a <= v <= b for a, v, b in zip(low, point, high, strict=True)) for point in plan.inside]
    assert all(in_box)
    # Most points without material lie where a careless part would have some.
    near = [all(a - 1 <= v <= b + 1 for a, v, b in zip(low, point, high, strict=True)) for point in plan.outside]
    assert sum(near) >= 2
    assert len(set(plan.inside + plan.outside)) == len(plan.inside) + len(plan.outside)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_wrong_candidates_are_of_different_kinds(task):
    assert len(task.wrong) >= 3
    assert len({(wrong.label, wrong.subcode) for wrong in task.wrong}) >= 2
    assert any(wrong.label is Label.FUNCTIONAL_MISMATCH for wrong in task.wrong)
    assert len({wrong.code for wrong in task.wrong} | {task.reference}) == len(task.wrong) + 1
    assert all(re.fullmatch(r"[a-z0-9_]+", wrong.name) for wrong in task.wrong)
