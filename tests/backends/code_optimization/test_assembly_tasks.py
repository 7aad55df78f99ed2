"""Every shipped task for real."""

import asyncio

import pytest

from ecot.backends.verify import verify_tasks
from ecot.outcomes import Label


@pytest.fixture(scope="module")
def verified(assembly, code_tasks, thinned):
    return asyncio.run(verify_tasks(thinned(code_tasks), assembly))


def test_every_shipped_task_is_sound(verified):
    assert [row.describe() for row in verified if not row.as_expected] == []
    assert len(verified) >= 40


def test_references_are_better_with_room_to_spare(verified, code_tasks):
    """Inputs differ from candidate to candidate, so a ratio near the threshold would be a matter of luck."""
    for row in verified:
        allowed = code_tasks[row.id].settings["max_ratio"]
        assert row.reference.execution.metrics["ratio"] < 0.95 * allowed, row.id
        for wrong in row.wrong:
            if wrong.execution.label is Label.NOT_IMPROVED:
                assert wrong.execution.metrics["ratio"] > 1.05 * allowed, f"{row.id}/{wrong.name}"
