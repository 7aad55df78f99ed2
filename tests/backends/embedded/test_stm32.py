"""The firmware backend: labels, diagnostics and metrics against answers that were worked out apart from it."""

import asyncio
import re
from dataclasses import replace

import pytest

from ecot.backends.embedded import emulator, toolchain
from ecot.backends.protocol import Backend
from ecot.errors import DataError, MissingToolError, ToolError
from ecot.outcomes import Domain, Label, Stage


def test_it_is_a_backend(stm32):
    assert isinstance(stm32, Backend)
    assert stm32.name == "stm32" and stm32.domains == {Domain.EMBEDDED}


def test_a_reference_passes_with_its_metrics(run, stm32, firmware_tasks):
    task = firmware_tasks["crc16_modbus"]
    execution = run(task, task.reference)
    assert (execution.label, execution.subcode, execution.stage) == (Label.PASS, "", Stage.CHECK)
    assert execution.metrics["cases"] == 67 and execution.metrics["mismatches"] == 0
    assert 0 < execution.metrics["flash_bytes"] <= 2048 and execution.metrics["ram_bytes"] == 0
    assert 0 < execution.metrics["stack_bytes"] < 4096 and execution.metrics["instructions"] > 10_000
    assert execution.diagnostics == "test bench finished: all 67 cases match\n"
    assert execution.fingerprint == stm32.fingerprint


def test_the_metrics_count_the_candidate(run, firmware_tasks):
    """200 bytes more of RAM and 1000 more of flash are seen as such."""
    task = firmware_tasks["ring_buffer"]
    more = "static volatile uint8_t extra[200];\nstatic const uint8_t table[1000] = {1, 2, 3};\n"
    code = more + task.reference.replace(
        "ring->head = 0;", "ring->head = 0;\n    extra[size % 200] = table[size % 1000];", 1
    )
    before, after = run(task, task.reference).metrics, run(task, code).metrics
    assert after["ram_bytes"] - before["ram_bytes"] == 200
    assert 1000 <= after["flash_bytes"] - before["flash_bytes"] <= 1100


def test_a_mismatch_names_the_first_place_and_the_published_value(run, firmware_tasks):
    """0x4B37 is the check value of CRC-16/MODBUS; started at zero the same register gives CRC-16/ARC's 0xBB3D."""
    task = firmware_tasks["crc16_modbus"]
    execution = run(task, task.reference.replace("return 0xFFFF;", "return 0;"))
    assert (execution.label, execution.stage) == (Label.FUNCTIONAL_MISMATCH, Stage.CHECK)
    lines = execution.diagnostics.splitlines()
    assert lines[0] == f"test bench finished: {execution.metrics['mismatches']:.0f} of 67 cases mismatch"
    assert (
        lines[1] == "first mismatch in case 1 (check_value): output 'crc' expected 0x00004b37, got 0x0000bb3d"
        and execution.metrics["first_mismatch_case"] == 1
    )


@pytest.mark.parametrize(
    ("statement", "label", "subcode", "text"),
    [
        ("*(volatile int *)0 = 1;", Label.MEMORY_FAULT, "segv", "at address 0x00000000 (null pointer)"),
        ("*(volatile int *)0x60000000 = 1;", Label.MEMORY_FAULT, "bus", "bus error on a data access at address 0x6"),
        ("volatile int z = 0; z = 1000 / z;", Label.MEMORY_FAULT, "usage_fault", "division by zero"),
        ('__asm__ volatile("udf 0");', Label.MEMORY_FAULT, "usage_fault", "undefined instruction"),
        ("((void (*)(void))0x08000400)();", Label.MEMORY_FAULT, "usage_fault", "without the Thumb bit"),
        ("volatile char a[9000]; a[0] = 1;", Label.MEMORY_FAULT, "stack", "the stack overflowed"),
        ("for (;;) {}", Label.TIMEOUT, "run", "the run was stopped after 400 ms of device time, in case 1"),
        ("TIM5->CR1 = 0; for (;;) __WFI();", Label.TIMEOUT, "run", "the device sleeps and no interrupt can wake it"),
        ("for (;;) USART1->DR = 'x';", Label.RESOURCE_EXCEEDED, "output", "endless output"),
        ("SCB->AIRCR = 0x05FA0004;", Label.PROTOCOL_VIOLATION, "early_finish", "the device was reset before"),
        ("NVIC_EnableIRQ(ADC_IRQn); NVIC_SetPendingIRQ(ADC_IRQn);", Label.RUNTIME_ERROR, "exception", "exception 34"),
        ("assert(1 + 1 == 3);", Label.RUNTIME_ERROR, "assertion", "candidate.c:4: assertion '1 + 1 == 3' failed"),
    ],
)
def test_ends_of_a_run_are_told_apart(run, firmware_tasks, statement, label, subcode, text):
    task = firmware_tasks["crc16_modbus"]
    code = "#include <assert.h>\n" + task.reference.replace("{\n", "{\n" + statement + "\n", 1)
    execution = run(task, code)
    assert (execution.label, execution.subcode) == (label, subcode), execution.diagnostics
    assert text in execution.diagnostics
    if label is Label.MEMORY_FAULT and text.split()[0] not in ("the", "without"):
        assert "in function 'crc16_start'" in execution.diagnostics


@pytest.mark.parametrize(
    ("edit", "label", "subcode", "line"),
    [
        (
            ("return 0xFFFF;", "return 0xFFFF"),
            Label.COMPILATION_ERROR,
            "syntax",
            "error: expected ';' before '}' token",
        ),
        (("return 0xFFFF;", "return start;"), Label.COMPILATION_ERROR, "elaboration", "'start' undeclared"),
        (
            ("uint16_t crc16_start(void)", "int crc16_start(void)"),
            Label.COMPILATION_ERROR,
            "elaboration",
            "conflicting",
        ),
        (
            ("bool crc16_check", "static bool other"),
            Label.COMPILATION_ERROR,
            "link",
            "undefined reference to `crc16_check'",
        ),
        (
            ("return 0xFFFF;", "static volatile char big[50000]; return 0xFFFF + big[5];"),
            Label.RESOURCE_EXCEEDED,
            "ram",
            "region `RAM' overflowed by 33616 bytes",
        ),
    ],
)
def test_builds_are_judged_by_the_messages(run, firmware_tasks, edit, label, subcode, line):
    task = firmware_tasks["crc16_modbus"]
    execution = run(task, task.reference.replace(*edit))
    assert (execution.label, execution.subcode, execution.stage) == (label, subcode, Stage.COMPILE)
    assert line in execution.diagnostics
    assert not re.search(r"/tmp|/usr|bench\.[oc]|cc\w{6}\.o", execution.diagnostics), execution.diagnostics


def test_accesses_to_what_is_not_there_are_told(run, firmware_tasks):
    task = firmware_tasks["crc16_modbus"]
    execution = run(task, task.reference.replace("return 0xFFFF;", "(void)*(volatile int *)0x60000000; return 0xFFFF;"))
    said = execution.diagnostics.splitlines()
    assert "HardFault: bus error on a data access at address 0x60000000, in function 'crc16_start'" in said
    if emulator.find_qemu().version.startswith("7."):  # QEMU 10 has no word of its own for it
        assert "emulator: read of 4 bytes at 0x60000000: nothing is there" in said


def test_other_code_gets_other_stimuli_and_another_secret_other_outcomes(stm32, firmware_tasks):
    task = firmware_tasks["crc16_modbus"]
    code = task.reference.replace("0xA001U", "0xA003U")
    texts = [e.diagnostics for e in asyncio.run(stm32.execute_many([(task, f"{code}// {i}\n") for i in range(8)]))]
    assert 2 <= len(set(texts)) <= 8
    other = type(stm32)(secret="another")
    assert other.fingerprint != stm32.fingerprint
    assert asyncio.run(other.execute(task, task.reference)).passed


def test_a_wrong_reference_is_held_against_known_answers(stm32, firmware_tasks):
    task = firmware_tasks["crc16_modbus"]
    broken = replace(task, reference=task.reference.replace("0xA001U", "0x8408U"))
    with pytest.raises(ToolError, match=r"known\.txt:1: the reference gives .* 0x00004b37 is right"):
        asyncio.run(stm32.execute(broken, task.reference))
    blind = replace(task, hidden={"bench.c": "static void bench_run(void) {}"})
    with pytest.raises(ToolError, match="reports no output"):
        asyncio.run(stm32.execute(blind, task.reference))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"flash_kb": 3}}, "task crc16_modbus: settings key 'flash_kb'"),
        ({"settings": {"ram_bytes": 90000, "stack_bytes": 90000}}, "together may be at most 98304"),
        ({"settings": {"usart2_input": "no.txt"}}, "no hidden file 'no.txt'"),
        ({"domain": Domain.GENERAL}, "domain general cannot run on stm32"),
        ({"hidden": {}}, "no hidden file 'bench.c'"),
        ({"environment": {"link.ld": ""}}, "'link.ld' is a name of the harness's own"),
    ],
)
def test_a_malformed_task_is_refused(stm32, firmware_tasks, change, message):
    with pytest.raises(DataError, match=re.escape(message)):
        asyncio.run(stm32.execute(replace(firmware_tasks["crc16_modbus"], **change), "int x;"))


def test_missing_tools_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr(toolchain.shutil, "which", lambda name, path=None: None)
    with pytest.raises(MissingToolError, match="apt install gcc-arm-none-eabi"):
        toolchain.find_toolchain.__wrapped__()
    with pytest.raises(MissingToolError, match="apt install qemu-system-arm"):
        emulator.find_qemu.__wrapped__()
    with pytest.raises(MissingToolError, match="renode is not on the PATH"):
        emulator.find_emulator("renode")


def test_another_program_of_that_name_is_refused(monkeypatch):
    monkeypatch.setattr(toolchain.shutil, "which", lambda name, path=None: "/bin/true")
    with pytest.raises(ToolError, match="is it GCC for ARM"):
        toolchain.find_toolchain.__wrapped__()
    with pytest.raises(ToolError, match="is it QEMU"):
        emulator.find_qemu.__wrapped__()
