"""The conformance suite with all adversaries, and every shipped task for real."""

import asyncio

import pytest

from ecot.backends.conformance import CheckState, check_backend
from ecot.backends.registry import make_attack
from ecot.backends.verify import verify_tasks
from ecot.outcomes import Label


def test_the_backend_passes_with_all_adversaries(assembly, code_tasks, tmp_path):
    canary = tmp_path / "canary"
    few = {"digital_root": code_tasks["digital_root"]}
    attack = make_attack("assembly", canary)
    results = asyncio.run(check_backend(assembly, few, attack, canary=canary))
    assert [result for result in results if result.state is not CheckState.PASSED] == []
    groups = {result.group for result in results}
    assert groups == {"protocol", "reference", "wrong", "adversary", "cancellation", "determinism"}
    names = {result.name for result in results if result.group == "adversary"}
    assert {
        "fork_bomb",
        "fork_bomb_hidden",
        "memory_hog",
        "endless_output_hidden",
        "endless_loop",
        "network_hidden",
        "read_shadow",
        "read_the_parents_environment",
        "write_outside",
        "symlink_out_hidden",
        "signal_the_parent_hidden",
        "fills_the_disk",
        "surviving_child_hidden",
        "empty",
        "huge_file",
        "unicode_comment",
        "nul_bytes",
        "forged_output_hidden",
        "early_exit_hidden",
        "valgrind_request",
        "constructor",
    } <= names


@pytest.fixture(scope="module")
def verified(assembly, code_tasks):
    return asyncio.run(verify_tasks(code_tasks, assembly))


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
