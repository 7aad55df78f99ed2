"""Inputs, listings and copies, without running anything."""

import struct

import pytest

from ecot.backends.code_optimization.copying import normalised_source
from ecot.backends.code_optimization.inputs import draw_cases, encode, is_close
from ecot.backends.code_optimization.listing import read_listing, refused_parts
from ecot.backends.code_optimization.records import read_transcript
from ecot.backends.code_optimization.running import student_t95
from ecot.backends.code_optimization.settings import Plan
from ecot.errors import DataError


def plan(*arguments, tests=40, **more):
    return Plan.model_validate({"returns": "u32", "tests": tests, "arguments": arguments, **more})


def scalar(name, **more):
    return {"scalar": {"name": name, "type": "u32", **more}}


def buffer(name, **more):
    return {"buffer": {"name": name, "type": "u8", "count": "n", **more}}


def test_corner_cases_come_first_and_the_seed_decides_the_rest():
    wanted = plan(scalar("n", values=[0, 7], high=30), buffer("data", low=3, high=9))
    first, again, other = (draw_cases(wanted, seed, "task x") for seed in (1, 1, 2))
    assert [case.scalars["n"] for case in first[:2]] == [0, 7]
    assert first == again != other
    for case in first:
        assert len(case.blocks[0].values) == case.scalars["n"] <= 30
        assert all(3 <= value <= 9 for value in case.blocks[0].values)


@pytest.mark.parametrize(
    ("more", "check"),
    [
        ({"pattern": "sorted"}, lambda values: list(values) == sorted(values)),
        ({"pattern": "same"}, lambda values: len(set(values)) <= 1),
        ({"terminated": True}, lambda values: values[-1] == 0 and 0 not in values[:-1]),
        ({"alphabet": "xyz"}, lambda values: set(values) <= set(b"xyz")),
        ({"pattern": "utf8"}, lambda values: bytes(values).decode("utf-8") is not None),
        ({"pattern": "text"}, lambda values: bytes(values).isascii()),
    ],
)
def test_patterns_give_what_they_say(more, check):
    for case in draw_cases(plan(scalar("n", low=1, high=50), buffer("data", **more)), 5, "task x"):
        assert check(case.blocks[0].values)


def test_broken_text_is_broken_sometimes():
    def is_valid(values):
        try:
            bytes(values).decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True

    wanted = plan(scalar("n", low=20, high=50), buffer("data", pattern="broken_utf8"))
    outcomes = {is_valid(case.blocks[0].values) for case in draw_cases(wanted, 5, "task x")}
    assert outcomes == {True, False}


def test_a_copy_differs_in_at_most_two_elements():
    wanted = plan(scalar("n", high=50), buffer("left"), buffer("right", like="left"))
    counts = set()
    for case in draw_cases(wanted, 5, "task x"):
        left, right = (block.values for block in case.blocks)
        counts.add(sum(a != b for a, b in zip(left, right, strict=True)))
    assert counts == {0, 1, 2}


@pytest.mark.parametrize("count", ["m", "n **", "-1", "n - 100", "print(n)", "n / 2", "1.5"])
def test_counts_that_cannot_be_are_refused(count):
    with pytest.raises(DataError, match="task x: buffer 'data': count"):
        draw_cases(plan(scalar("n", high=50), buffer("data", count=count)), 5, "task x")


def test_arithmetic_of_counts():
    (case, *_) = draw_cases(
        plan(scalar("n", values=[9], low=1, high=9), buffer("data", count="4 * ((n + 2) // 3) - 1")), 5, "task x"
    )
    assert len(case.blocks[0].values) == 11


def test_too_many_arguments_are_refused():
    with pytest.raises(DataError, match="at most 6 integers"):
        draw_cases(plan(*(scalar(f"n{index}") for index in range(7))), 5, "task x")


def test_buffers_lie_at_both_ends_of_their_slot_and_between():
    cases = draw_cases(plan(scalar("n", values=[24] * 8, high=24), buffer("data"), tests=8), 5, "task x")
    raw = encode(cases, b"0123456789abcdef")
    assert raw[:16] == b"0123456789abcdef" and struct.unpack_from("<2Q", raw, 16) == (8, len(raw) - 32)
    blocks, slot = struct.unpack_from("<2Q", raw, 32)
    assert (blocks, slot) == (1, 4096)
    offsets = []
    for index in range(8):
        at = 48 + index * (10 * 8 + 3 * 8 + 24) + 10 * 8
        argument, size, offset = struct.unpack_from("<3Q", raw, at)
        assert (argument, size) == (1, 24)
        offsets.append(offset)
    assert offsets[0] == 4096 - 24 and offsets[1] == 0 and offsets[2] == 5 and offsets[3] == 4096 - 24


def test_tolerances():
    assert is_close(1.0, 1.0, 0, 0) and is_close(float("nan"), float("nan"), 0, 0) and is_close(1.05, 1.0, 0.1, 0)
    assert not is_close(1.2, 1.0, 0.1, 0) and not is_close(1e38, float("inf"), 0.1, 1e38)


def record(nonce, kind, test, *more):
    return nonce + struct.pack("<6Q", kind, test, *more, *[0] * (4 - len(more)))


def test_records_are_read_in_order_only():
    cases = draw_cases(plan(scalar("n"), tests=8), 5, "task x")
    nonce = b"n" * 16
    results = b"".join(record(nonce, 1, test, 5) for test in range(8))
    whole = read_transcript(results + record(nonce, 2, 8), cases, nonce)
    assert whole.ended and not whole.foreign and [result.integer for result in whole.results] == [5] * 8
    assert not read_transcript(results, cases, nonce).ended
    assert not read_transcript(results[:-64] + record(nonce, 2, 7), cases, nonce).ended
    for forged in (b"x", record(b"m" * 16, 2, 8), record(nonce, 2, 7), record(nonce, 9, 8), record(nonce, 1, 8)):
        assert read_transcript(results + forged, cases, nonce).foreign
    fault = read_transcript(record(nonce, 3, 0, 11, (1 << 64) - 8, 0x101), cases, nonce).fault
    assert fault is not None and (fault.signal, fault.place, fault.distance, fault.is_write) == (11, 1, -8, True)


DUMP = """
candidate.o:     file format elf64-x86-64

Sections:
Idx Name              Size      VMA               LMA               File off  Algn  Flags
  0 .text         00000006  0000000000000000  0000000000000000  00000040  2**0  CONTENTS, ALLOC, LOAD, READONLY, CODE
  1 .odd name         00000008  0000000000000000  0000000000000000  00000046  2**0  CONTENTS, ALLOC, LOAD, CODE

Disassembly of section .text:

0000000000000000 <f>:
   0:\tendbr64
   4:\txor    %eax,%eax
   6:\tnopw   0x0(%rax,%rax,1)
   8:\tjmp    4 <f+0x4>
   a:\tlock cmpxchg %ecx,(%rdi)
   c:\trep stos %al,%es:(%rdi)
   e:\tmov    %fs:0x28,%rax
  10:\tlea    0x0(%rip),%rax        # 17 <f+0x17>
"""


def test_a_listing_is_taken_apart():
    listing = read_listing(DUMP, "0000000000000000 T f\n                 U memcpy\n0000000000000000 t local\n")
    assert listing.instructions[:2] == ("xor %eax,%eax", "jmp @0") and listing.instructions[-1] == "lea 0x0(%rip),%rax"
    assert listing.defined == {"f"} and [section.size for section in listing.sections] == [6, 8]
    assert refused_parts(listing, b"") == ["segment override", "writable code (section .odd name)"]
    assert "client request to valgrind" in refused_parts(
        listing, bytes.fromhex("00 48c1c703 48c1c70d 48c1c73d 48c1c733")
    )


SOURCE = (
    "#include <stdint.h>\nint f(const int *a, int n) { int s = 0; for (int i = 0; i < n; i++) s += a[i]; return s; }"
)


def test_names_comments_and_layout_do_not_make_a_new_source():
    same = (
        "/* own */\n#include <immintrin.h>\nstatic inline int g(int *restrict x, int count)\n{\n"
        "int total = 0u; for (register int k = 0; k < count; k++) total += x[k]; // sum\nreturn total; }\n"
    )
    assert normalised_source(SOURCE) == normalised_source(same)
    for change in (("i++", "++i"), ("int s = 0", "int s = 1"), ("s += a[i]", "a += s[i]"), ("int n", "long n")):
        assert normalised_source(SOURCE.replace(*change)) != normalised_source(SOURCE)


@pytest.mark.parametrize(("degrees", "point"), [(1, 12.706), (4, 2.776), (5, 2.571), (9, 2.262), (30, 2.042)])
def test_students_t_is_that_of_the_tables(degrees, point):
    assert student_t95(degrees) == pytest.approx(point, abs=0.002)
