"""The conformance suite with the adversaries of this domain."""

import asyncio

import pytest

from ecot.backends.conformance import CheckState, check_backend, outcome
from ecot.backends.gpu_optimization.adversaries import cuda_adversaries
from ecot.backends.registry import make_attack

KERNELBENCH_CHEATS = {
    "result_reuse",
    "zero_output",
    "wrong_stream",
    "fallback_to_torch",
    "monkey_patched_timer",
    "returns_the_input",
    "torch_operator",
    "into_the_harness",
}
ESCAPES = {
    "fork_bomb",
    "memory_hog",
    "output_flood",
    "endless_loop",
    "network",
    "read_shadow",
    "parent_environment",
    "write_outside",
    "symlink_out",
    "signal_the_parent",
    "fill_the_disk",
    "surviving_children",
    "empty",
    "huge_file",
    "unicode_comment",
    "nul_bytes",
    "prints_a_verdict",
}
CUDA_SAMPLE = (
    "empty_kernel",
    "waits_for_nobody",
    "before_the_array",
    "store_to_an_input",
    "output_flood",
    "endless_loop",
    "calls_the_shell",
    "leaves_the_program",
    "runs_before_main",
    "include_by_macro",
    "name_mangled",
    "huge_file",
    "prints",
)
"""One of each kind; the drill runs all of them."""


def failures(results):
    return [result for result in results if result.state is not CheckState.PASSED]


@pytest.mark.timeout(1800)  # a hundred and fifty executions, on a machine that may be busy
def test_triton_candidates_with_all_adversaries(gpu, gpu_tasks, tmp_path):
    canary = tmp_path / "canary"
    attack = make_attack("gpu", canary)
    assert {adversary.name for adversary in attack.adversaries} >= KERNELBENCH_CHEATS | ESCAPES
    few = {"compact_positive": gpu_tasks["compact_positive"]}
    assert failures(asyncio.run(check_backend(gpu, few, attack, canary=canary))) == []


def test_cuda_adversaries_get_their_labels(gpu, gpu_tasks, tmp_path):
    canary = tmp_path / "canary"
    attack = cuda_adversaries(gpu_tasks, canary)
    chosen = {adversary.name: adversary for adversary in attack.adversaries if adversary.name in CUDA_SAMPLE}
    assert len(chosen) == len(CUDA_SAMPLE)
    jobs = [(attack.task, adversary.code) for adversary in chosen.values()]
    found = asyncio.run(gpu.execute_many([*jobs, (attack.task, attack.task.reference)]))
    assert found.pop().passed
    wrong = {name for name, got in zip(chosen, found, strict=True) if outcome(got) not in chosen[name].expected}
    assert wrong == set()
    assert not canary.exists()


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_cuda_candidates_with_all_adversaries(gpu, gpu_tasks, tmp_path):
    canary = tmp_path / "canary"
    attack = cuda_adversaries(gpu_tasks, canary)
    few = {"cuda_dot_two_pass": gpu_tasks["cuda_dot_two_pass"]}
    assert failures(asyncio.run(check_backend(gpu, few, attack, canary=canary))) == []
