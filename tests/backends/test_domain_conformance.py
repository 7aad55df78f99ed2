"""Each domain's real backend passes the suite with all its adversaries, among them those that the domain must have."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from ecot.backends.conformance import CheckState, check_backend
from ecot.backends.registry import make_attack
from ecot.tasks.registry import load_tasks


@dataclass(frozen=True)
class Case:
    """A domain's backend, the tasks that it is checked with, and the least that its adversaries try."""

    backend: str
    tasks: tuple[str, ...]
    """The cheapest of them runs after each adversary."""
    adversaries: str
    options: dict[str, str] = field(default_factory=dict)


HARMLESS = "empty nul_bytes huge_file"
CASES = {
    "chip_design": Case(
        "icarus",
        ("alu", "popcount"),
        "finish_at_once verdict_in_our_form endless_loop endless_elaboration zero_delay_loop combinational_oscillation "
        "output_flood write_outside read_shadow memory_hog garbage_bytes",
    ),
    "embedded": Case(
        "stm32",
        ("crc16_modbus",),
        "reset_at_once verdict_in_our_form end_with_the_true_nonce overwrites_the_bench semihosting_system "
        "incbin_shadow include_a_host_file own_vectors huge_array_in_use fill_the_disk endless_elaboration "
        "endless_loop output_flood fork_bomb_by_interrupt network read_shadow write_outside symlink_out "
        "signal_the_parent surviving_child memory_hog unicode_comment",
    ),
    "gpu_optimization": Case(
        "gpu",
        ("compact_positive", "saxpy"),
        # KernelBench's cheats first.
        "result_reuse zero_output wrong_stream fallback_to_torch monkey_patched_timer returns_the_input torch_operator "
        "into_the_harness fork_bomb memory_hog output_flood endless_loop network read_shadow parent_environment "
        "write_outside symlink_out signal_the_parent fill_the_disk surviving_children unicode_comment prints_a_verdict "
        "cuda_endless_loop cuda_output_flood cuda_calls_the_shell cuda_before_the_array cuda_huge_file cuda_prints",
        {"device": "cpu"},
    ),
    "code_optimization": Case(
        "assembly",
        ("digital_root",),
        "fork_bomb fork_bomb_hidden memory_hog endless_output_hidden endless_loop network_hidden read_shadow "
        "read_the_parents_environment write_outside symlink_out_hidden signal_the_parent_hidden fills_the_disk "
        "surviving_child_hidden unicode_comment forged_output_hidden early_exit_hidden valgrind_request constructor",
    ),
    "general": Case(
        "python",
        ("merge_windows",),
        "fork_bomb memory_hog output_flood endless_loop endless_sleep network read_shadow read_the_parents_environment "
        "write_outside symlink_out kill_the_watcher stop_the_watcher fills_the_disk surviving_child unicode_identifier "
        "results_forged equal_to_everything",
    ),
    "cad_3d": Case(
        "cadquery",
        ("square_flange", "hollow_cube_frame", "turned_funnel"),
        "fork_bomb memory_hog endless_output endless_loop network reads_shadow reads_the_parents_environment "
        "writes_outside writes_outside_by_a_link kills_the_parent fills_the_disk surviving_children unicode_comment "
        "prints_a_verdict looks_for_the_reference_in_memory",
    ),
}
# As `tests/conftest.py` groups the domain's other tests: one worker starts its tools.
GROUPS = {
    "chip_design": "rtl",
    "embedded": "embedded",
    "gpu_optimization": "gpu",
    "code_optimization": "code",
    "general": "python",
    "cad_3d": "cad",
}


def check(domain, started, canary, chosen=lambda adversary: True, names=()):
    """What the suite says of a domain's tasks, and of the chosen adversaries."""
    case = CASES[domain]
    backend, tasks = started(case.backend, **case.options), load_tasks(f"builtin:{domain}")
    attack = make_attack(case.backend, canary)
    assert {adversary.name for adversary in attack.adversaries} >= {*case.adversaries.split(), *HARMLESS.split()}
    attack = replace(attack, adversaries=tuple(filter(chosen, attack.adversaries)))
    seen = []
    results = asyncio.run(
        check_backend(
            backend,
            {name: tasks[name] for name in (*case.tasks, *names)},
            attack,
            canary=canary,
            progress=lambda done, total, note="": seen.append((done, total)),
        )
    )
    assert seen == [(number, len(results)) for number in range(1, len(results) + 1)]
    assert [result for result in results if result.state is not CheckState.PASSED] == []
    assert {result.group for result in results} == {
        *("protocol", "reference", "wrong", "adversary", "cancellation", "determinism")
    }
    tried = {result.name for result in results if result.group == "adversary"}
    assert tried == {adversary.name for adversary in attack.adversaries}
    assert "same_in_20_runs" in {result.name for result in results if result.group == "determinism"}


@pytest.mark.timeout(1800)  # up to two hundred executions, on a machine that may be busy
@pytest.mark.parametrize(
    "domain", [pytest.param(domain, marks=pytest.mark.xdist_group(GROUPS[domain])) for domain in CASES]
)
def test_a_domain_passes_with_all_adversaries(domain, started, tmp_path):
    """Those in CUDA take minutes of compilation: a sample of them runs in `gpu_optimization/`, all in the drill."""
    check(domain, started, tmp_path / "canary", lambda adversary: adversary.task is None)


@pytest.mark.drill
@pytest.mark.timeout(3600)
@pytest.mark.xdist_group("gpu")
def test_triton_and_cuda_with_all_adversaries(started, tmp_path):
    check("gpu_optimization", started, tmp_path / "canary", names=("cuda_dot_two_pass",))
