"""Candidates written against this backend: each tries to pass undeserved, to do harm or to break the harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ecot.backends.conformance import Adversary, Attack, host_task
from ecot.tasks.bundle import Task

HOST_TASK = "count_byte"
"""The shipped task, in assembly, whose reference the adversaries are made from."""

_PASS = ("PASS",)
_DENIED = ("PROTOCOL_VIOLATION/sandbox_denial",)
_EARLY = ("PROTOCOL_VIOLATION/early_finish",)
_SPOOF = ("PROTOCOL_VIOLATION/spoofed_verdict",)
_TIMEOUT = ("TIMEOUT/run",)
_SYNTAX = ("COMPILATION_ERROR/syntax",)
_LINK = ("COMPILATION_ERROR/link",)
_OUT_OF_BOUNDS = ("MEMORY_FAULT/out_of_bounds",)
_SEGV = ("MEMORY_FAULT/segv",)
_ABI = ("RUNTIME_ERROR/abi",)
_NOT_HERE = (*_SYNTAX, "COMPILATION_ERROR/elaboration", "COMPILATION_ERROR/unsupported")
_TOO_LARGE = ("RESOURCE_EXCEEDED", "RESOURCE_EXCEEDED/ram", "MEMORY_FAULT/out_of_memory", *_LINK)


def adversaries(tasks: Mapping[str, Task], canary: Path) -> Attack:
    """The task to attack, with short limits, and the candidates.

    Args:
        tasks: must hold `HOST_TASK`.
        canary: a path of the host that does not exist and that some candidates try to write.

    Raises:
        DataError: the task is missing.
    """
    task = host_task(tasks, HOST_TASK)
    task = replace(task, settings={**task.settings, "run_seconds": 1, "compile_seconds": 2})
    found = []
    inserted = {**_system_calls(canary), **_IN_THE_PROCESS, **_EXHAUSTING}
    for name, (lines, expected) in inserted.items():
        found.append(Adversary(name, _insert(task.reference, lines), frozenset(expected)))
    for name, (lines, expected) in {**_SECTIONS, **_DIRECTIVES}.items():
        code = f"{task.reference}\n{lines}\n".replace("CANARY", str(canary))
        found.append(Adversary(name, code, frozenset(expected)))
    found += [Adversary(name, code, frozenset(expected)) for name, (code, expected) in _whole_texts(task).items()]
    return Attack(task, tuple(found))


def _insert(code: str, lines: str) -> str:
    """The lines as the first instructions of the function, with its arguments saved around them."""
    saved = "    push rdi\n    push rsi\n    push rdx\n"
    restored = "    pop rdx\n    pop rsi\n    pop rdi\n"
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    return code.replace(f"{HOST_TASK}:\n", f"{HOST_TASK}:\n{saved}{body}{restored}", 1)


def _system_calls(canary: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """System calls, openly and hidden: what they would do does not matter, none is made."""
    numbers = {
        "write_to_output": 1,
        "network": 41,
        "signal_the_parent": 62,
        "fork_bomb": 57,
        "surviving_child": 56,
        "start_a_shell": 59,
        "trace": 101,
        "map_memory": 9,
        "symlink_out": 88,
    }
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, number in numbers.items():
        found[name] = (f"mov eax, {number}\nsyscall", _DENIED)
        # Through a subroutine, since the hidden bytes end with a return.
        found[f"{name}_hidden"] = (f"push 9f\nmov eax, {number}\njmp 8f + 1\n8: mov ecx, 0xC3050F\n9:", _DENIED)
    del found["write_to_output_hidden"]
    path = '.section .rodata\npath: .asciz "{}"\n.text'
    opened = "mov eax, 2\nlea rdi, [rip + path]\nmov esi, 0x41\nsyscall"
    found["write_outside"] = (f"{path.format(canary)}\n{opened}", _DENIED)
    found["read_shadow"] = (f"{path.format('/etc/shadow')}\n{opened}", _DENIED)
    found["read_the_parents_environment"] = (f"{path.format('/proc/1/environ')}\n{opened}", _DENIED)
    # What is written through the allowed call is no record of the harness; ending is allowed, and too early.
    found["forged_output_hidden"] = (
        "push 9f\nmov eax, 1\nmov edi, 1\nmov rsi, rsp\nmov edx, 64\njmp 8f + 1\n8: mov ecx, 0xC3050F\n9:",
        _SPOOF,
    )
    found["early_exit_hidden"] = ("mov eax, 60\nxor edi, edi\njmp 8f + 1\n8: mov ecx, 0xC3050F", _EARLY)
    found["old_system_call"] = ("mov eax, 1\nint 0x80", _DENIED)
    found["processor_identity"] = ("push rbx\ncpuid\npop rbx", _DENIED)
    found["clock"] = ("rdtsc", _DENIED)
    return found


_IN_THE_PROCESS = {
    "valgrind_request": (
        "rol rdi, 3\nrol rdi, 13\nrol rdi, 61\nrol rdi, 51\nxchg rbx, rbx",
        _DENIED,
    ),
    "returns_to_the_harness_early": ("add rsp, 32\nret", (*_SEGV, *_ABI, *_EARLY, *_OUT_OF_BOUNDS)),
    "jumps_into_data": ("jmp rdi", (*_SEGV, "RUNTIME_ERROR/exception")),
    "writes_to_code": ("lea rax, [rip + count_byte]\nmov byte ptr [rax], 0xC3", _SEGV),
    "writes_to_its_input": ("mov rax, rdi\nmov byte ptr [rax - 1], 7", (*_OUT_OF_BOUNDS,)),
    "frame_of_the_caller": ("mov qword ptr [rsp + 40], 0", _ABI),
    "register_not_restored": ("xor r14d, r14d", _ABI),
    "direction_flag": ("std", _ABI),
    "rounding_mode": ("mov dword ptr [rsp - 8], 0x7F80\nldmxcsr dword ptr [rsp - 8]", _ABI),
    "privileged": ("cli", _DENIED),
    "trap": ("ud2", ("RUNTIME_ERROR/exception",)),
    "breakpoint": ("int3", _DENIED),
    "division_by_zero": ("xor ecx, ecx\ndiv ecx", ("RUNTIME_ERROR/exception",)),
    "null_pointer": ("xor eax, eax\nmov rax, [rax]", _SEGV),
    "too_wide": (
        "vpaddd zmm1, zmm1, zmm1",
        (*_SYNTAX, "COMPILATION_ERROR/elaboration", "COMPILATION_ERROR/unsupported"),
    ),
}

_EXHAUSTING = {
    "endless_loop": ("1: jmp 1b", _TIMEOUT),
    "endless_system_time": ("1: pause\njmp 1b", _TIMEOUT),
    "endless_recursion": ("1: call 1b", ("MEMORY_FAULT/stack",)),
    "endless_output": ("1: mov eax, 1\nsyscall\njmp 1b", _DENIED),
    "endless_output_hidden": (
        "7: push 9f\nmov eax, 1\nmov edi, 1\nmov rsi, rsp\nmov edx, 64\njmp 8f + 1\n8: mov ecx, 0xC3050F\n9: jmp 7b",
        (*_SPOOF, "RESOURCE_EXCEEDED/output"),
    ),
    "stack_hog": ("lea rax, [rsp - 0x200000]\nmov byte ptr [rax], 1", (*_SEGV, "MEMORY_FAULT/stack")),
}

_SECTIONS = {
    "constructor": (".section .init_array\n.quad count_byte", _DENIED),
    "writable_code": ('.section .patch, "awx"\nnop', _DENIED),
    "executable_stack": ('.section .note.GNU-stack, "x", @progbits', _PASS),
    "thread_local": ('.section .tdata, "awT", @progbits\n.quad 1', ("COMPILATION_ERROR/unsupported",)),
    "indirect_function": (
        ".text\n.type pick, @gnu_indirect_function\n.globl pick\npick: ret",
        ("COMPILATION_ERROR/unsupported",),
    ),
    "memory_hog": (".bss\n.skip 1 << 40", _TOO_LARGE),
    "memory_hog_of_two_gigabytes": (".bss\n.skip 2000000000", _TOO_LARGE),
    "fills_the_disk": (".data\n.fill 1 << 40, 1, 1", (*_TOO_LARGE, *_SYNTAX, "TIMEOUT/compile")),
    "fills_the_disk_slowly": (".rept 100000000\n.quad 1\n.endr", (*_TOO_LARGE, *_SYNTAX, "TIMEOUT/compile")),
    "defines_the_start": (".text\n.globl _start\n_start: ret", _LINK),
    "calls_a_library": (".text\ncall printf", _LINK),
    "names_the_harness": (".text\nmov rax, [rip + ecot_kept]", _LINK),
}

_DIRECTIVES = {
    "include_a_host_file": ('.include "/etc/passwd"', _SYNTAX),
    "embed_a_host_file": ('.incbin "CANARY"', _SYNTAX),
    "include_itself": ('.include "candidate.s"', (*_SYNTAX, "COMPILATION_ERROR/elaboration", *_TOO_LARGE)),
    "endless_assembly": (
        ".macro bomb\nbomb\nbomb\n.endm\nbomb",
        ("TIMEOUT/compile", *_SYNTAX, *_TOO_LARGE, "COMPILATION_ERROR/elaboration"),
    ),
    "flood_of_messages": (".rept 100000\nnonsense\n.endr", (*_SYNTAX, "RESOURCE_EXCEEDED/output")),
}


def _whole_texts(task: Task) -> dict[str, tuple[str, tuple[str, ...]]]:
    reference = task.reference
    return {
        "empty": ("", ("FORMAT_ERROR/no_code",)),
        "white_space": (" \n\t\n", ("FORMAT_ERROR/no_code",)),
        "comment_only": ("# count_byte\n", _LINK),
        "prose": ("I am sorry, but I cannot write this function.\n", _SYNTAX),
        "garbage_bytes": ("".join(chr(1 + (i * 37) % 255) for i in range(4096)), _SYNTAX),
        "nul_bytes": (reference.replace("    xor", "\0    xor", 1), _SYNTAX),
        "lone_surrogate": (reference + "# \udc80\n", _PASS),
        "unicode_comment": (reference + "# größer ≥ 先入れ先出し 🎛\n", _PASS),
        "unicode_label": (reference.replace("\n    ret", "\nüberall:\n    ret", 1), _PASS),
        "windows_line_ends": (reference.replace("\n", "\r\n"), _PASS),
        "huge_file": ("# " + "x" * 10_000_000 + "\n" + reference, ("RESOURCE_EXCEEDED",)),
        "many_lines": (reference + "nop\n" * 100_000, _PASS),
        "baseline_in_c": (task.environment["baseline.c"], _SYNTAX),
        "local_function": (reference.replace(f".globl {HOST_TASK}", ""), (*_LINK, *_SYNTAX)),
        "data_for_code": (f".data\n.globl {HOST_TASK}\n{HOST_TASK}:\n.byte 0xc3\n", _SEGV),
        "constant_answer": (f".globl {HOST_TASK}\n{HOST_TASK}:\nxor %eax, %eax\nret\n", ("FUNCTIONAL_MISMATCH",)),
    }
