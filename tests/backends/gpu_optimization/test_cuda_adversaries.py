"""A sample of the adversaries in CUDA; `make drill` runs the suite with all of them."""

import asyncio

from ecot.backends.conformance import outcome
from ecot.backends.gpu_optimization.adversaries import cuda_adversaries

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
"""One of each kind."""


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
