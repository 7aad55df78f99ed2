"""Candidates written against this backend: each tries to pass undeserved, to do harm or to break the harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ecot.backends.conformance import Adversary, Attack, host_task
from ecot.tasks.bundle import Task

HOST_TASK = "ring_buffer"
"""The shipped task whose reference the adversaries are made from: it has state and storage of the bench's."""

_EARLY = ("PROTOCOL_VIOLATION/early_finish",)
_SPOOF = ("PROTOCOL_VIOLATION/spoofed_verdict",)
_DENIED = ("PROTOCOL_VIOLATION/sandbox_denial",)
_TIMEOUT = ("TIMEOUT/run",)
_SYNTAX = ("COMPILATION_ERROR/syntax",)
_NAMES = ("COMPILATION_ERROR/elaboration",)
_LINK = ("COMPILATION_ERROR/link",)
_FLOOD = ("RESOURCE_EXCEEDED/output",)
_OVERWRITTEN = ("MEMORY_FAULT/out_of_bounds",)
_SEGV = ("MEMORY_FAULT/segv",)
_STACK = ("MEMORY_FAULT/stack",)
_TOO_LARGE = ("RESOURCE_EXCEEDED", "RESOURCE_EXCEEDED/flash", "RESOURCE_EXCEEDED/ram")
_NO_MEMORY = ("MEMORY_FAULT/out_of_memory",)
_SLOW_BUILD = ("TIMEOUT/compile", *_NO_MEMORY, "RESOURCE_EXCEEDED")
_PASS = ("PASS",)


def adversaries(tasks: Mapping[str, Task], canary: Path) -> Attack:
    """The task to attack, with short limits, and the candidates.

    Args:
        tasks: must hold `HOST_TASK`.
        canary: a path of the host that does not exist and that some candidates try to write.

    Raises:
        DataError: the task is missing.
    """
    task = host_task(tasks, HOST_TASK)
    task = replace(task, settings={**task.settings, "run_seconds": 1, "compile_seconds": 2, "deadline_ms": 100})
    found = []
    for name, (snippet, expected) in {**_ENDING, **_FORGING, **_SEMIHOSTING, **_EXHAUSTING, **_CORRUPTING}.items():
        code = _PRINT + task.reference.replace("{\n", "{\n" + snippet.replace("CANARY", str(canary)) + "\n", 1)
        found.append(Adversary(name, code, frozenset(expected)))
    for name, (text, expected) in {**_READING_FILES, **_CALLING_THE_HOST, **_LINKING, **_BOMBS, **_HARMLESS}.items():
        code = text.replace("CANARY", str(canary)) + "\n" + task.reference
        found.append(Adversary(name, code, frozenset(expected)))
    found += [Adversary(name, code, frozenset(expected)) for name, (code, expected) in _whole_texts(task).items()]
    return Attack(task, tuple(found))


_PRINT = r"""
__attribute__((unused)) static void say(const char *text)
{
    while (*text) {
        while (!(USART1->SR & USART_SR_TXE)) {
        }
        USART1->DR = (uint8_t)*text++;
    }
}
__attribute__((unused)) static void say_nonce(void)
{
    for (int shift = 28; shift >= 0; shift -= 4) {
        char digit[2] = {"0123456789abcdef"[(*(volatile uint32_t *)0x080E0010 >> shift) & 15U], 0};
        say(digit);
    }
}
__attribute__((unused)) static uint32_t calls;
"""

_RESET = "SCB->AIRCR = 0x05FA0004UL; for (;;) {}"

# Each stands at the start of `ring_init`, which the bench calls five times.
_ENDING = {
    "reset_at_once": (_RESET, _EARLY),
    "reset_midway": (f"if (++calls == 3) {{ {_RESET} }}", _EARLY),
    "jump_to_the_start": (
        "((void (*)(void))(*(volatile uint32_t *)0x08000004))();",
        (*_SPOOF, *_FLOOD, *_TIMEOUT, "MEMORY_FAULT/usage_fault"),
    ),
    "jump_to_the_bench_by_address": (
        "((void (*)(void))0x08080001)();",
        (*_EARLY, *_TIMEOUT, *_SPOOF, *_OVERWRITTEN, *_FLOOD, "FUNCTIONAL_MISMATCH", *_PASS),
    ),
    "never_returns": ("for (;;) {}", _TIMEOUT),
    "endless_loop": ("__disable_irq(); for (;;) {}", _TIMEOUT),
    "sleeps_for_ever": ("TIM5->CR1 = 0; SysTick->CTRL = 0; for (;;) __WFI();", _TIMEOUT),
    "sleeps_until_the_deadline": ("for (;;) __WFI();", _TIMEOUT),
}

_FORGING = {
    "verdict_in_our_form": (rf'say("\002deadbeefeend 200 0 0\n"); {_RESET}', _SPOOF),
    "end_with_the_true_nonce": (rf'say("\002"); say_nonce(); say("eend 200 96 1000\n"); {_RESET}', _EARLY),
    "end_with_the_true_nonce_and_on": (r'say("\002"); say_nonce(); say("eend 200 96 1000\n");', _SPOOF),
    "cases_with_the_true_nonce": (
        'for (int i = 0; i < 200; i++) { say("\\002"); say_nonce(); say("cput 1\\n\\002"); say_nonce(); '
        f'say("oput 1\\n"); }} say("\\002"); say_nonce(); say("eend 200 96 1000\\n"); {_RESET}',
        (*_OVERWRITTEN, *_SPOOF, "FUNCTIONAL_MISMATCH"),
    ),
    "text_that_looks_like_a_verdict": (r'say("ecot-verdict PASS total 200 0\n");', _SPOOF),
    "fault_that_was_none": (
        r'say("\002"); say_nonce(); say("ffault 3 0 0 0 0 0 0 0 0\n");',
        (*_SPOOF, "MEMORY_FAULT"),
    ),
    "own_vector_table": (
        "static void (*table[98])(void) __attribute__((aligned(512)));\n"
        "for (int i = 0; i < 98; i++) table[i] = ((void (**)(void))0x08000000)[i];\n"
        "SCB->VTOR = (uint32_t)table;",
        _PASS,
    ),
}

_SEMIHOSTING = {
    "semihosting_system": (
        'static const char line[] = "touch CANARY"; uint32_t block[2] = {(uint32_t)line, sizeof line - 1};\n'
        'register uint32_t r0 __asm__("r0") = 0x12; register uint32_t *r1 __asm__("r1") = block;\n'
        '__asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");',
        _DENIED,
    ),
    "semihosting_write": (
        'register uint32_t r0 __asm__("r0") = 4; register const char *r1 __asm__("r1") = "PASS\\n";\n'
        '__asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");',
        _DENIED,
    ),
    "semihosting_exit": (
        'register uint32_t r0 __asm__("r0") = 0x18; register uint32_t r1 __asm__("r1") = 0x20026;\n'
        '__asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");',
        _DENIED,
    ),
    "breakpoint": ('__asm__ volatile("bkpt 0");', ("RUNTIME_ERROR/exception",)),
    "supervisor_call": ('__asm__ volatile("svc 0xab");', ("RUNTIME_ERROR/exception",)),
}

_EXHAUSTING = {
    "output_flood": (r'for (;;) say("all work and no play makes a dull device\n");', _FLOOD),
    "output_flood_in_one_line": ('__disable_irq(); for (;;) say("0123456789");', _FLOOD),
    # A newer emulator models the oscillator, which is then ready at once.
    "waits_for_hardware_that_is_not_modelled": (
        "RCC->CR |= 1UL << 16; while (!(RCC->CR & (1UL << 17))) {}",
        (*_FLOOD, *_TIMEOUT, *_PASS),
    ),
    "stack_overflow": (
        "volatile uint8_t frame[256]; frame[0] = 1; ring_init(ring, storage, size + frame[0]);\n"
        "storage[0] = frame[255];",
        _STACK,
    ),
    "huge_frame": ("volatile uint8_t frame[60000]; for (int i = 0; i < 60000; i++) frame[i] = 1;", _STACK),
    "interrupt_storm": (
        "NVIC_EnableIRQ(EXTI3_IRQn); for (;;) NVIC_SetPendingIRQ(EXTI3_IRQn);",
        ("RUNTIME_ERROR/exception",),
    ),
}

_CORRUPTING = {
    "overwrites_the_bench": (
        "for (uint32_t *p = (uint32_t *)0x20018C00; p < (uint32_t *)0x2001FF00; p++) *p = 0;",
        (*_OVERWRITTEN, *_SEGV, "FUNCTIONAL_MISMATCH", "MEMORY_FAULT/usage_fault", "MEMORY_FAULT/bus"),
    ),
    "writes_to_flash": ("*(volatile uint32_t *)0x080E0000 = 0;", _SEGV),
    "writes_to_flash_without_protection": (
        "*(volatile uint32_t *)0xE000ED94 = 0; __DSB(); *(volatile uint32_t *)0x080E0010 = 0;",
        (*_PASS, "MEMORY_FAULT/bus"),
    ),
    "null_pointer": ("*(volatile uint32_t *)0 = 1;", _SEGV),
    "unmapped_address": ("*(volatile uint32_t *)0x60000000 = 1;", ("MEMORY_FAULT/bus",)),
    "undefined_instruction": ('__asm__ volatile(".short 0xde00");', ("MEMORY_FAULT/usage_fault",)),
    "lock_up": ("SCB->VTOR = 0x60000000UL; __DSB(); *(volatile uint32_t *)0 = 1;", ("MEMORY_FAULT/lockup",)),
    "breaks_both_stacks": (
        '__asm__ volatile("mov r0, #0\\n msr msp, r0\\n msr psp, r0\\n isb\\n push {r0}");',
        ("MEMORY_FAULT/lockup", *_SEGV, *_STACK, "MEMORY_FAULT/bus"),
    ),
}

# From here on each stands before the reference, outside of any function.
_READING_FILES = {
    "include_a_host_file": ('#include "/etc/passwd"', _SYNTAX),
    "include_the_parents_environment": ('#include "/proc/self/environ"', _SYNTAX),
    "incbin_shadow": ('__asm__(".incbin \\"/etc/shadow\\"");', _SYNTAX),
    "assembler_include": ('__asm__(".include \\"/etc/passwd\\"");', _SYNTAX),
    "include_the_bench": ('#include "bench.c"', _SYNTAX),
    "include_itself": ('#include "candidate.c"', (*_SYNTAX, *_SLOW_BUILD)),
    "incbin_the_bench": ('__asm__(".section .rodata\\n.incbin \\"bench.o\\"\\n.text");', _PASS),
    "asks_for_host_files": (
        '#if __has_include("/etc/passwd") || __has_include("/proc/self/status")\n#error seen\n#endif',
        _PASS,
    ),
}

_CALLING_THE_HOST = {
    "fork_bomb": ("int fork(void); void use(void); __attribute__((used)) void use(void) { for (;;) fork(); }", _PASS),
    "fork_bomb_by_interrupt": ("int fork(void); void SysTick_Handler(void) { for (;;) fork(); }", _LINK),
    "network": ("int socket(int, int, int); void SysTick_Handler(void) { socket(2, 1, 0); }", _LINK),
    "read_shadow": (
        '#include <stdio.h>\nvoid SysTick_Handler(void) { FILE *f = fopen("/etc/shadow", "r"); fgetc(f); }',
        _LINK,
    ),
    "write_outside": (
        '#include <stdio.h>\nvoid SysTick_Handler(void) { FILE *f = fopen("CANARY", "w"); fputc(1, f); }',
        _LINK,
    ),
    "symlink_out": (
        'int symlink(const char *, const char *); void SysTick_Handler(void) { symlink("/etc", "CANARY"); }',
        _LINK,
    ),
    "signal_the_parent": ("int kill(int, int); void SysTick_Handler(void) { kill(1, 9); }", _LINK),
    "surviving_child": (
        '#include <stdlib.h>\nvoid SysTick_Handler(void) { system("sleep 1000 & touch CANARY"); }',
        # On the bare device newlib's system() can start nothing; whether it links depends on newlib's version.
        (*_PASS, *_LINK),
    ),
    "memory_hog": (
        "#include <stdlib.h>\nvoid SysTick_Handler(void) { for (;;) *(volatile char *)malloc(1000); }",
        _LINK,
    ),
}

_LINKING = {
    "own_vectors": ('__attribute__((section(".bench_vectors"), used)) const uint32_t fake[2] = {0};', (*_PASS, *_LINK)),
    "own_section": (
        '__attribute__((section(".elsewhere"), used)) uint32_t there = 1; void SysTick_Handler(void) { there++; }',
        _LINK,
    ),
    "own_entry": ("void bench_reset(void) {}", _LINK),
    "own_end_of_the_stack": (
        '__asm__(".global bench_candidate_stack_end\\nbench_candidate_stack_end = 0x20000008");',
        (*_PASS, *_LINK, *_STACK),
    ),
    "constructor": ("__attribute__((constructor)) static void first(void) { SCB->AIRCR = 0x05FA0004; }", _PASS),
    "linker_options_in_a_section": (
        '__asm__(".section .drectve\\n.ascii \\"-defsym x=1\\"\\n.text");',
        (*_PASS, *_LINK),
    ),
    "huge_array": ("uint8_t hog[64 * 1024 * 1024]; void *use_it(void); void *use_it(void) { return hog; }", _PASS),
    "huge_array_in_use": (
        "uint8_t hog[64 * 1024 * 1024]; void SysTick_Handler(void) { hog[SysTick->VAL] = 1; }",
        ("RESOURCE_EXCEEDED/ram",),
    ),
    "huge_constant_in_use": (
        "const volatile uint8_t hog[30 * 1024 * 1024] = {1}; void SysTick_Handler(void) { (void)hog[5]; }",
        _TOO_LARGE,
    ),
}

_BOMBS = {
    "fill_the_disk": ('__asm__(".section .rodata\\n.space 0x7fffffff, 1\\n.text");', (*_TOO_LARGE, *_SLOW_BUILD)),
    "endless_assembly": (
        '__asm__(".rept 2000000000\\n.short 1, 2, 3, 4, 5, 6, 7, 8\\n.endr");',
        (*_TOO_LARGE, *_SLOW_BUILD),
    ),
    "endless_elaboration": (
        "#define A0 1+\n"
        + "".join(f"#define A{i} {' '.join([f'A{i - 1}'] * 16)}\n" for i in range(1, 9))
        + "int bomb = A8 0;",
        _SLOW_BUILD,
    ),
    "error_flood": (
        "".join(f"int e{i} = undeclared_{i};\n" for i in range(4000)),
        (*_SYNTAX, *_NAMES, *_SLOW_BUILD),
    ),
}

_HARMLESS = {
    "defines_main": ("int main(void) { return 0; }", _PASS),
    "own_fault_handler": ("void HardFault_Handler(void) { for (;;) {} }", _PASS),
    "pragma_message": ('#pragma message "test bench finished: all 200 cases match"', _PASS),
    "prints_while_assembled": ('__asm__(".print \\"FLASH: 1 B 2 B 0.00%\\"");', _PASS),
    "asks_for_other_outputs": ('#pragma GCC optimize ("-o/CANARY")', (*_PASS, *_SYNTAX, *_NAMES)),
}


def _whole_texts(task: Task) -> dict[str, tuple[str, tuple[str, ...]]]:
    reference = task.reference
    return {
        "empty": ("", ("FORMAT_ERROR/no_code",)),
        "white_space": (" \n\t\n", ("FORMAT_ERROR/no_code",)),
        "comment_only": ("// void ring_init\n", _LINK),
        "prose": ("I am sorry, but I cannot write this driver.\n", _SYNTAX),
        "garbage_bytes": ("".join(chr(1 + (i * 37) % 255) for i in range(4096)), _SYNTAX),
        "nul_bytes": (reference.replace("ring->size = size", "\0ring->size = size", 1), _SYNTAX),
        "lone_surrogate": (reference + "// \udc80\n", _PASS),
        "unicode_comment": (reference + "// größer ≥ 先入れ先出し 🎛\n", _PASS),
        "unicode_identifier": (reference.replace("written", "geführt"), _PASS),
        "windows_line_ends": (reference.replace("\n", "\r\n"), _PASS),
        "huge_file": ("// " + "x" * 10_000_000 + "\n" + reference, ("RESOURCE_EXCEEDED",)),
        "unterminated_comment": (reference + "/* ", _SYNTAX),
        "unterminated_conditional": (reference + "#ifdef NEVER\n", _SYNTAX),
        "other_names": (reference.replace("ring_peek", "peek_ring"), _LINK),
        "other_types": (reference.replace("bool ring_put", "int ring_put"), _NAMES),
        "two_of_the_same_name": (reference + reference, _NAMES),
    }
