"""From sources to programs: what is run in the sandbox to compile, take apart and link."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from ecot.backends.code_optimization.listing import Listing, read_listing
from ecot.backends.code_optimization.settings import BASELINE_FILE, MEBIBYTE, CodeSettings
from ecot.backends.code_optimization.tool import Toolchain
from ecot.backends.sandbox import CommandRunner, Limits, SandboxCommand, SandboxResult
from ecot.errors import ToolError
from ecot.tasks.bundle import Task

ASSEMBLER_LEVEL = "-march=generic64+sse4.2+popcnt+avx2+bmi+bmi2+lzcnt+fma+f16c+movbe+cx16"
"""x86-64-v3 as the assembler spells it; the compiler does not tell it by itself."""

BASELINE_FLAGS = ("-O3", "-march=x86-64-v3")
"""What the task statement promises; the rest of `COMPILE_FLAGS` changes the code of no function."""

COMPILE_FLAGS = (
    *BASELINE_FLAGS,
    "-std=gnu17",
    "-ffreestanding",
    # A header of the compiler's own asks for the C library: leave out what `immintrin.h` includes it for.
    "-D_MM_MALLOC_H_INCLUDED",
    "-fno-pie",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables",
    f"-Wa,{ASSEMBLER_LEVEL}",
)
_HARNESS_FLAGS = ("-O2", *COMPILE_FLAGS[1:], "-fno-tree-loop-distribute-patterns")
_LINK_FLAGS = ("-static", "-nostdlib", "-z", "noexecstack", "-z", "separate-code", "--build-id=none")

WALL_FACTOR = 10.0
"""Wall time per processor time: a busy machine must not turn a slow candidate into a timeout."""

COMPILE_FAILED, LINK_FAILED = 10, 12

_PARTS = ("candidate.o", "listing", "symbols")


@dataclass(frozen=True)
class Parts:
    """What all programs of a backend share."""

    harness: bytes
    runtime: bytes
    stub: bytes
    """A whole program whose candidate only returns: what it executes is the harness's own share."""


@dataclass(frozen=True)
class Built:
    """What compiling one source gave."""

    result: SandboxResult
    listing: Listing | None
    """None if it did not compile."""
    program: bytes | None
    """None if it did not link either."""


def file_name(task: Task) -> str:
    """The candidate's file inside the sandbox, as messages name it."""
    return "candidate.s" if task.language == "asm" else "candidate.c"


async def build_parts(runner: CommandRunner, tools: Toolchain) -> Parts:
    """Compile the harness.

    Raises:
        ToolError: it does not compile with this compiler.
    """
    package = resources.files("ecot.backends.code_optimization")
    flags = " ".join(_HARNESS_FLAGS)
    script = f"""set -e
        {tools.path("gcc")} {flags} -c harness.c
        {tools.path("objcopy")} --keep-global-symbol=_start harness.o
        {tools.path("gcc")} {flags} -fno-tree-vectorize -c runtime.c
        {tools.path("ar")} Drc runtime.a runtime.o
        printf '.text\\n.globl entry\\nentry: ret\\n.section .note.GNU-stack,"",@progbits\\n' >candidate.s
        {tools.path("as")} candidate.s -o candidate.o
        {_link(tools, "entry")}
    """
    result = await runner.run(
        SandboxCommand(
            argv=("/bin/sh", "-c", script),
            inputs={name: (package / name).read_bytes() for name in ("harness.c", "runtime.c")},
            outputs=("harness.o", "runtime.a", "program"),
            limits=Limits(cpu_seconds=60, wall_seconds=600),
            environment={"LC_ALL": "C"},
        )
    )
    if result.exit_code != 0 or len(result.outputs) != 3:
        text = result.stderr.decode("utf-8", "replace")
        raise ToolError(f"the harness does not compile with {tools.description}: {text}")
    return Parts(result.outputs["harness.o"], result.outputs["runtime.a"], result.outputs["program"])


async def build(
    runner: CommandRunner, tools: Toolchain, parts: Parts, task: Task, name: str, code: str, settings: CodeSettings
) -> Built:
    """Compile a source, take the object apart, and link it to the harness.

    Args:
        runner: where all of it happens.
        tools: what does it.
        parts: the harness.
        task: gives the entry and further files.
        name: `candidate.c`, `candidate.s`, or the baseline's name.
        code: the source.
        settings: limits.
    """
    files = {other: text.encode() for other, text in task.environment.items() if other != BASELINE_FILE}
    files |= {name: code.encode("utf-8", "replace"), "harness.o": parts.harness, "runtime.a": parts.runtime}
    if name.endswith(".s"):
        compilation = f"{tools.path('as')} {ASSEMBLER_LEVEL} {name} -o candidate.o"
    else:
        compilation = f"{tools.path('gcc')} {' '.join(COMPILE_FLAGS)} -w -c {name} -o candidate.o"
    script = f"""{compilation} || exit {COMPILE_FAILED}
        {tools.path("objdump")} -h -d -w --no-show-raw-insn candidate.o >listing || exit 11
        {tools.path("nm")} candidate.o >symbols || exit 11
        {_link(tools, task.entry)} || exit {LINK_FAILED}
    """
    result = await runner.run(
        SandboxCommand(
            argv=("/bin/sh", "-c", script),
            inputs=files,
            outputs=(*_PARTS, "program"),
            limits=Limits(
                cpu_seconds=settings.compile_seconds,
                wall_seconds=settings.compile_seconds * WALL_FACTOR,
                scratch_bytes=32 * MEBIBYTE,
                processes=32,
            ),
            environment={"LC_ALL": "C"},
        )
    )
    listing = None
    if result.exit_code in (0, LINK_FAILED) and "listing" in result.outputs:
        dump, symbols = (result.outputs[part].decode("utf-8", "replace") for part in ("listing", "symbols"))
        listing = read_listing(dump, symbols)
    return Built(result, listing, result.outputs.get("program") if result.exit_code == 0 else None)


def _link(tools: Toolchain, entry: str) -> str:
    flags = " ".join(_LINK_FLAGS)
    return f"{tools.path('ld')} {flags} --defsym=ecot_candidate={entry} -o program harness.o candidate.o runtime.a"
