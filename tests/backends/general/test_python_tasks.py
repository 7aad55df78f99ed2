"""Every shipped task for real."""

import asyncio

import pytest

from ecot.backends.verify import verify_tasks


@pytest.fixture(scope="module")
def verified(python, python_tasks, thinned):
    return asyncio.run(verify_tasks(thinned(python_tasks), python))


def test_every_shipped_task_is_sound(verified):
    assert [row.describe() for row in verified if not row.as_expected] == []
    assert len(verified) >= 40


def test_every_candidate_of_a_task_sees_as_many_calls(verified):
    for row in verified:
        counts = {candidate.execution.metrics.get("calls") for candidate in (row.reference, *row.wrong)} - {None}
        assert len(counts) == 1 and min(counts) >= 20, row.id
