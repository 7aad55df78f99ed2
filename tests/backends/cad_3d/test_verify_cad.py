"""Every shipped task, run for real: references pass, wrong candidates fail as written down."""

import asyncio

from ecot.backends.verify import verify_tasks
from ecot.outcomes import Label


def surprises(cadquery, tasks):
    rows = asyncio.run(verify_tasks(tasks, cadquery))
    assert [row.id for row in rows] == list(tasks)
    return [row.describe() for row in rows if not row.as_expected]


def test_every_reference_passes(cadquery, tasks):
    jobs = [(task, task.reference) for task in tasks.values()]
    outcomes = asyncio.run(cadquery.execute_many(jobs))
    assert {name: outcome.label for name, outcome in zip(tasks, outcomes, strict=True)} == dict.fromkeys(
        tasks, Label.PASS
    )
    assert all(outcome.metrics["iou"] == 1.0 for outcome in outcomes)


def test_wrong_candidates_of_every_fifth_task_fail_as_written_down(cadquery, tasks):
    few = {name: task for number, (name, task) in enumerate(tasks.items()) if number % 5 == 0}
    assert surprises(cadquery, few) == []
