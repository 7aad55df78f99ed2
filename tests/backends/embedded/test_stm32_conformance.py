"""The conformance suite on the firmware backend, with every adversary."""

import asyncio

from ecot.backends.conformance import CheckState, check_backend
from ecot.backends.registry import make_attack


def test_stm32_passes_with_all_adversaries(stm32, firmware_tasks, tmp_path):
    canary = tmp_path / "canary"
    few = {"crc16_modbus": firmware_tasks["crc16_modbus"]}
    results = asyncio.run(check_backend(stm32, few, make_attack("stm32", canary), canary=canary))
    assert [result for result in results if result.state is not CheckState.PASSED] == []
    groups = {result.group for result in results}
    assert groups == {"protocol", "reference", "wrong", "adversary", "cancellation", "determinism"}
    names = {result.name for result in results if result.group == "adversary"}
    assert {
        "reset_at_once",
        "verdict_in_our_form",
        "end_with_the_true_nonce",
        "overwrites_the_bench",
        "semihosting_system",
        "incbin_shadow",
        "include_a_host_file",
        "own_vectors",
        "huge_array_in_use",
        "fill_the_disk",
        "endless_elaboration",
        "endless_loop",
        "output_flood",
        "fork_bomb_by_interrupt",
        "network",
        "read_shadow",
        "write_outside",
        "symlink_out",
        "signal_the_parent",
        "surviving_child",
        "memory_hog",
        "empty",
        "nul_bytes",
        "unicode_comment",
        "huge_file",
    } <= names
