"""Frames, comparison, fault registers, linker messages and the Renode adapter, without running anything."""

import pytest

from ecot.backends.embedded.diagnostics import classify_compilation, emulator_notes, memory_usage, overflowed_region
from ecot.backends.embedded.faults import classify_fault, parse_fault
from ecot.backends.embedded.frames import compare, read_report
from ecot.backends.embedded.renode import Renode, renode_script
from ecot.backends.embedded.runs import FirmwareRun
from ecot.backends.sandbox import Limits, SandboxResult
from ecot.errors import ToolError
from ecot.outcomes import Label

NONCE = "0badcafe"


def report(*lines, nonce=NONCE):
    return read_report("".join(f"\2{nonce}{line}\n" for line in lines).encode(), nonce)


def test_a_report_is_read_with_the_candidates_own_noise_between():
    raw = f"hello\n\2{NONCE}cput 1\nno line end\2{NONCE}ix 5\n\2{NONCE}oy [01 ]\n\2{NONCE}eend 1 96 20\nbye"
    read = read_report(raw.encode() + b"\xff", NONCE)
    assert not read.forged and read.ended and read.detail == "1 96 20"
    assert [case.name for case in read.cases] == ["put"]
    assert [(e.name, e.value, e.is_input) for e in read.cases[0].entries] == [("x", "5", True), ("y", "[01 ]", False)]


@pytest.mark.parametrize(
    "raw",
    [
        "\2deadbeefeend 1 2 3\n",
        f"{NONCE}oy 5\n",
        f"\2{NONCE}eend 1 2 3\n\2{NONCE}oy 5\n",
        "ecot-verdict PASS\n",
        f"\2\2{NONCE}oy 5\n",
    ],
)
def test_lines_that_pose_as_the_benchs_are_noticed(raw):
    assert read_report(raw.encode(), NONCE).forged


def test_a_comparison_counts_cases_and_tells_the_first():
    want = report("cput 1", "ix 5", "oy 6", "oz 7", "cput 2", "ix 1", "oy 2", "oz 3")
    got = report("cput 1", "ix 5", "oy 6", "oz 7", "cput 2", "ix 1", "oy 9", "oz 8")
    result = compare(want, got)
    assert result.samples == 2 and len(result.mismatches) == 1 and result.tampered_case == 0
    first = result.mismatches[0]
    assert (first.case, first.output, first.expected, first.got, first.inputs) == (2, "y", "2", "9", "x=1")
    assert result.per_output == {"y": (1, 2), "z": (1, 2)}
    assert compare(want, want).mismatches == ()


def test_an_input_that_differs_first_means_that_the_bench_was_overwritten():
    want, got = report("cput 1", "ix 5", "oy 6"), report("cput 1", "ix 4", "oy 6")
    assert compare(want, got).tampered_case == 1
    late = report("cput 1", "ix 5", "oy 6", "cput 2", "ix 4")
    wrong = report("cput 1", "ix 5", "oy 7", "cput 2", "ix 3")
    assert compare(late, wrong).tampered_case == 0


def test_missing_and_additional_outputs_are_mismatches():
    want, short, long = report("cput 1", "oy 6"), report("cput 1"), report("cput 1", "oy 6", "oq 1")
    assert compare(want, short).mismatches[0].got == "nothing"
    assert compare(want, long).mismatches[0].expected == "nothing"


@pytest.mark.parametrize(
    ("cfsr", "hfsr", "address", "sp", "instruction", "expected"),
    [
        (0x8200, 0x40000000, 0x60000000, 0x20000F00, 0x6800, (Label.MEMORY_FAULT, "bus")),
        (0x0100, 0x40000000, 0, 0x20000F00, 0, (Label.MEMORY_FAULT, "bus")),
        (0x02000000, 0x40000000, 0, 0x20000F00, 0xFB90, (Label.MEMORY_FAULT, "usage_fault")),
        (0x00010000, 0x40000000, 0, 0x20000F00, 0xDE00, (Label.MEMORY_FAULT, "usage_fault")),
        (0x0082, 0x40000000, 0, 0x20000F00, 0x6001, (Label.MEMORY_FAULT, "segv")),
        (0x1000, 0x40000000, 0, 0x1FFFFFE0, 0, (Label.MEMORY_FAULT, "stack")),
        (0x8200, 0x40000000, 0x1FFFFFF8, 0x20000010, 0, (Label.MEMORY_FAULT, "stack")),
        (0, 0x80000000, 0, 0x20000F00, 0xBEAB, (Label.PROTOCOL_VIOLATION, "sandbox_denial")),
        (0, 0x80000000, 0, 0x20000F00, 0xBE00, (Label.RUNTIME_ERROR, "exception")),
    ],
)
def test_fault_registers_in_words(cfsr, hfsr, address, sp, instruction, expected):
    """Bits of CFSR as in the ARMv7-M manual, B3.2.15; the values are those seen on the emulated device."""
    words = [3, cfsr, hfsr, address, address, sp, 0x08000500, instruction, 0xFFFFFFFD]
    assert classify_fault(parse_fault(" ".join(f"{word:08x}" for word in words))) == expected


def test_a_cut_fault_line_is_an_error_of_the_harness():
    with pytest.raises(ToolError, match="2 words instead of 9"):
        parse_fault("00000003 00000000")


@pytest.mark.parametrize(
    ("messages", "subcode"),
    [
        ("candidate.c:3:5: error: expected ';' before 'return'\n", "syntax"),
        ("candidate.c:1:10: fatal error: /etc/passwd: No such file or directory\n", "syntax"),
        ("candidate.c:3:5: error: 'x' undeclared (first use in this function)\n", "elaboration"),
        ("candidate.c:3:5: error: too few arguments to function 'f'\n", "elaboration"),
        ("ld: candidate.o: in function `f':\ncandidate.c:(.text.f): undefined reference to `g'\n", "link"),
        ("candidate.c:3:5: sorry, unimplemented: nested function\n", "unsupported"),
    ],
)
def test_compiler_messages_have_their_subcode(messages, subcode):
    assert classify_compilation(messages) == subcode


def test_the_linkers_words_about_memory():
    assert overflowed_region("ld: region `RAM' overflowed by 73728 bytes\n") == "ram"
    assert overflowed_region("ld: region `FLASH' overflowed by 3 bytes\n") == "flash"
    assert overflowed_region("ld: undefined reference\n") == ""
    forged = b"           FLASH:           1 B         2 KB      0.0%\n"
    true = b"           FLASH:         188 B         2 KB      9.18%\n"
    true += b"             RAM:          1 KB        16 KB      6.25%\n"
    assert memory_usage(forged + true) == {"flash_bytes": 188, "ram_bytes": 1024}


def test_notes_of_the_emulator_are_told_once():
    text = b"RCC: unimplemented device read  (size 4, offset 0x00000)\n" * 3
    text += b"GPIOA: unimplemented device write (size 4, offset 0x018, value 0x20)\n"
    assert emulator_notes(text) == [
        "emulator: read of RCC, offset 0x000: not modelled",
        "emulator: write of GPIOA, offset 0x018: not modelled",
    ]


def test_the_renode_adapter_loads_image_and_parameters_and_stops():
    script = renode_script().splitlines()
    assert script[-2:] == ['emulation RunFor "2"', "quit"]
    assert any(line.startswith("sysbus LoadELF @/tmp/firmware.elf") for line in script)
    assert "sysbus LoadBinary @/tmp/parameters.bin 0x080E0000" in script
    renode = Renode("/opt/renode/renode", ())
    command = renode.command(FirmwareRun(b"elf", b"parameters", NONCE), Limits())
    assert command.argv[0] == "/opt/renode/renode" and command.inputs["parameters.bin"] == b"parameters"
    assert command.outputs == ("usart1.bin", "usart2.bin")
    with pytest.raises(ToolError, match="QEMU only"):
        renode.command(FirmwareRun(b"", b"", NONCE, usart2_input=b"x"), Limits())


def test_the_renode_adapter_drops_what_follows_the_reset():
    end = f"\2{NONCE}cput 1\n\2{NONCE}eend 1 2 3\n".encode()
    raw = end + f"\2{NONCE}cput 1\n".encode()
    result = SandboxResult(0, None, b"", b"", {"usart1.bin": raw}, False, False, False, 1.0)
    assert Renode("/opt/renode/renode", ()).uart(result) == end
