"""The assembly backend: labels, diagnostics, counts, copies, and what a candidate may break."""

import asyncio
import re
from dataclasses import replace

import pytest

from ecot.backends.code_optimization import tool as tool_module
from ecot.backends.code_optimization.backend import AssemblyBackend
from ecot.backends.code_optimization.building import COMPILE_FLAGS
from ecot.backends.protocol import Backend
from ecot.backends.sandbox import SandboxCommand, find_sandbox
from ecot.errors import DataError, MissingToolError, ToolError
from ecot.outcomes import Domain, Label, Stage


def edited(task, *pairs):
    code = task.reference
    for old, new in pairs:
        assert old in code
        code = code.replace(old, new, 1)
    return code


def test_it_is_a_backend(assembly):
    assert isinstance(assembly, Backend)
    assert assembly.name == "assembly" and assembly.domains == {Domain.CODE_OPTIMIZATION}


def test_a_reference_passes_with_its_counts(run_code, assembly, code_tasks):
    task = code_tasks["crc32c"]
    execution = run_code(task, task.reference)
    assert (execution.label, execution.stage) == (Label.PASS, Stage.CHECK)
    metrics = execution.metrics
    assert metrics["tests"] == 32 and metrics["mismatches"] == 0
    assert metrics["ratio"] == pytest.approx(metrics["instructions"] / metrics["baseline_instructions"], abs=1e-6)
    assert execution.fingerprint == assembly.fingerprint


def test_the_count_is_that_of_the_function_alone(run_code, code_tasks):
    """A function of seven instructions without branches, called 64 times: 448, to the instruction."""
    task = code_tasks["morton2"]
    assert run_code(task, task.reference).metrics["instructions"] == 64 * 7
    padded = run_code(task, edited(task, ("    mov     edi, edi\n", "    nop\n    nop\n    mov     edi, edi\n")))
    assert padded.metrics["instructions"] == 64 * 9


def test_the_count_holds_what_the_function_calls(run_code, code_tasks):
    task = code_tasks["morton2"]
    called = edited(task, ("    mov     edi, edi\n", "    call    helper\n    mov     edi, edi\n"))
    execution = run_code(task, called + ".text\nhelper: ret\n")
    assert execution.metrics["instructions"] == 64 * 9


def compiled(task):
    """What gcc makes of the baseline, as text."""
    script = f"gcc {' '.join(COMPILE_FLAGS)} -S -o out.s baseline.c"
    command = SandboxCommand(
        ("/bin/sh", "-c", script), inputs={"baseline.c": task.environment["baseline.c"].encode()}, outputs=("out.s",)
    )
    return asyncio.run(find_sandbox().run(command)).outputs["out.s"].decode()


@pytest.mark.parametrize("name", ["crc32c", "first_set_bit", "count_byte"])
def test_the_compilers_output_is_recognised_under_other_labels(run_code, code_tasks, name):
    task = code_tasks[name]
    text = compiled(task)
    for code in (text, "# mine\n" + re.sub(r"\.L(\w+)", r".Llabel_\1", text).replace("\t.p2align 4,,10\n", "")):
        execution = run_code(task, code)
        assert (execution.label, execution.subcode) == (Label.PROTOCOL_VIOLATION, "copied")
        assert execution.stage is Stage.COMPILE


def test_the_baseline_is_recognised_under_other_names(run_code, code_tasks):
    task = code_tasks["adler32"]
    code = task.environment["baseline.c"].replace("data", "bytes").replace("size_t i = 0", "size_t i=0 /* from 0 */")
    execution = run_code(task, "// fast\n" + code)
    assert (execution.label, execution.subcode, execution.stage) == (
        Label.PROTOCOL_VIOLATION,
        "copied",
        Stage.PARSE,
    )


def test_inline_assembly_of_the_compilers_output_is_recognised(run_code, code_tasks):
    task = code_tasks["digital_root"]
    lines = compiled(task).replace('"', '\\"').splitlines()
    code = "__asm__(\n" + "\n".join(f'"{line}\\n"' for line in lines) + ");\n"
    assert run_code(task, code).subcode == "copied"


def test_a_rewritten_baseline_is_no_copy_but_no_better(run_code, code_tasks):
    task = code_tasks["adler32"]
    code = task.environment["baseline.c"].replace("% 65521", "% (65520 + 1)")
    execution = run_code(task, code)
    assert (execution.label, execution.subcode) == (Label.NOT_IMPROVED, "")
    assert execution.metrics["ratio"] == 1.0
    assert "(ratio 1.000, at most 0.5)" in execution.diagnostics


C_FAILURES = [
    ("void f(int) { return 1", "COMPILATION_ERROR", "syntax", "error: expected"),
    ("#include <string.h>\n", "COMPILATION_ERROR", "syntax", "string.h: No such file or directory"),
    ("int x = undeclared;\n", "COMPILATION_ERROR", "elaboration", "'undeclared' undeclared here"),
    ('int printf(const char *, ...);\nint g(void) { return printf(""); }\n', "COMPILATION_ERROR", "link", "`printf'"),
    (
        "int seen;\n__attribute__((constructor)) void early(void) { seen = 1; }\n",
        "PROTOCOL_VIOLATION",
        "sandbox_denial",
        "section .init_array",
    ),
    ("_Thread_local int mine = 5;\nint g(void) { return mine; }\n", "PROTOCOL_VIOLATION", "sandbox_denial", "segment"),
    (
        '__attribute__((target("avx512f"))) void wide(float *p) { for (int i = 0; i < 64; i++) p[i] *= 2; }\n'
        "#include <immintrin.h>\n"
        '__attribute__((target("avx512f"))) __m512 w(__m512 a) { return _mm512_add_ps(a, a); }\n',
        "COMPILATION_ERROR",
        "unsupported",
        "bad register name `%zmm",
    ),
    ("char hog[1 << 30];\n", "RESOURCE_EXCEEDED", "ram", "1024 MiB of static data"),
]


@pytest.mark.parametrize(("added", "label", "subcode", "text"), C_FAILURES)
def test_what_c_candidates_may_not_hold(run_code, code_tasks, added, label, subcode, text):
    task = code_tasks["digital_root"]
    execution = run_code(task, added + task.reference)
    assert (execution.label, execution.subcode) == (label, subcode)
    assert text in execution.diagnostics
    assert not re.search(r"/tmp|harness|0x[0-9a-f]{6}", execution.diagnostics)


def test_what_the_compiler_calls_by_itself_is_there(run_code, code_tasks):
    """gcc calls memset for the bytes after the eighth: it is linked and counted, and the function is correct."""
    task = code_tasks["format_digits8"]
    added = (
        "    uint8_t scratch[4096];\n    for (int i = 0; i < 4096; i++) scratch[i] = (uint8_t)value;\n"
        '    __asm__ volatile("" : : "r"(scratch) : "memory");\n'
    )
    execution = run_code(task, edited(task, ("    uint64_t halves", f"{added}    uint64_t halves")))
    assert execution.label is Label.NOT_IMPROVED
    # 128 stores of 32 bytes in a loop of four or five instructions, 60 times.
    assert 60 * 128 * 3 < execution.metrics["instructions"] < 60 * 128 * 7


@pytest.mark.parametrize(
    ("old", "new", "label", "subcode", "text"),
    [
        ("    jb      2f\n", "", "MEMORY_FAULT", "out_of_bounds", "read after the end of 'data'"),
        ("    ret\n", "    push    rax\n    ret\n", "MEMORY_FAULT", "segv", "is the stack balanced"),
        ("    xor     eax, eax\n", "    xor     eax, eax\n    mov     byte ptr [rdi - 1], 0\n", "MEMORY_FAULT",
         "out_of_bounds", "write before the start of 'data'"),
        ("    xor     eax, eax\n", "    xor     eax, eax\n    mov     r12d, 5\n", "RUNTIME_ERROR", "abi",
         "register r12 was not restored"),
        ("    xor     eax, eax\n", "    mov     eax, 1\n", "FUNCTIONAL_MISMATCH", "", "expected 0, got 1"),
        ("    xor     eax, eax\n", "    xor     eax, eax\n    mov     byte ptr [rdi + rsi - 1], 77\n", "MEMORY_FAULT",
         "out_of_bounds", "write before the start of 'data'"),
    ],
)  # fmt: skip
def test_every_kind_of_failure_has_its_label(run_code, code_tasks, old, new, label, subcode, text):
    task = code_tasks["count_byte"]
    execution = run_code(task, edited(task, (old, new)))
    assert (execution.label, execution.subcode) == (label, subcode)
    assert text in execution.diagnostics


def test_inputs_must_come_back_unchanged(run_code, code_tasks):
    task = code_tasks["lower_bound1024"]
    code = edited(task, ("    mov     rax, rdi\n", "    mov     rax, rdi\n    inc     dword ptr [rdi + 4092]\n"))
    execution = run_code(task, code)
    assert execution.label is Label.FUNCTIONAL_MISMATCH
    assert "'table' is an input and was changed" in execution.diagnostics


def test_two_candidates_get_different_inputs_and_the_same_ones_again(run_code, code_tasks):
    task = code_tasks["count_byte"]
    counts = [
        run_code(task, task.reference + comment).metrics["instructions"] for comment in ("# a\n", "# b\n", "# a\n")
    ]
    assert counts[0] == counts[2] != counts[1]


def test_another_secret_gives_another_fingerprint(assembly):
    assert AssemblyBackend(workers=1, secret="another").fingerprint != assembly.fingerprint


def test_timing_is_an_option_that_decides_nothing(code_tasks):
    try:
        backend = AssemblyBackend(workers=1, timing_pairs=3)
    except ToolError as error:
        pytest.skip(str(error))
    task = code_tasks["crc32c"]
    execution = asyncio.run(backend.execute(task, task.reference + "# timed\n"))
    assert execution.passed
    # A loop of eight steps per byte against one instruction per eight bytes.
    assert 1 < execution.metrics["speedup_low"] <= execution.metrics["speedup"] <= execution.metrics["speedup_high"]


def test_a_broken_reference_is_an_error_of_the_harness(assembly, code_tasks):
    task = code_tasks["morton2"]
    broken = replace(task, reference=edited(task, ("pdep", "pext")))
    with pytest.raises(ToolError, match=r"task morton2: the reference does not pass.*FUNCTIONAL_MISMATCH"):
        asyncio.run(assembly.execute(broken, task.reference))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"max_ration": 0.5}}, "task morton2: settings key 'max_ration'"),
        ({"domain": Domain.EMBEDDED}, "task morton2: domain embedded cannot run on assembly"),
        ({"language": "rust"}, "task morton2: language 'rust'; allowed: c, asm"),
        ({"environment": {}}, "task morton2: no environment file 'baseline.c'"),
        ({"hidden": {}}, "task morton2: no hidden file 'tests.yaml'"),
        ({"hidden": {"tests.yaml": "returns: u64\ntests: 9\narguments: [{}]\n"}}, "key 'arguments.0': holds either"),
        ({"hidden": {"tests.yaml": "returns: u65\n"}}, 'task morton2: tests.yaml key "returns.'),
    ],
)
def test_a_malformed_task_is_refused(assembly, code_tasks, change, message):
    with pytest.raises(DataError, match=re.escape(message)):
        asyncio.run(assembly.execute(replace(code_tasks["morton2"], **change), "x"))


def test_a_missing_tool_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(
        tool_module.shutil, "which", lambda name, path="": None if name == "valgrind" else "/usr/bin/gcc"
    )
    with pytest.raises(MissingToolError, match="apt install valgrind"):
        tool_module.find_toolchain.__wrapped__()
