"""From Verilator's C++ to a program, as cheaply as it goes.

Most of a build is the same for every design: reading the headers and compiling Verilator's runtime. Both are done once
per process, into a precompiled header and object files that are kept in memory; per candidate there remains one call
of the compiler for one source that includes all generated ones, without optimisation.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from ecot.backends.chip_design.judging import judge_limits
from ecot.backends.chip_design.settings import MEBIBYTE
from ecot.backends.chip_design.tool import output_of
from ecot.backends.concurrency import Slots
from ecot.backends.sandbox import Limits, Sandbox, SandboxCommand, SandboxResult
from ecot.errors import MissingToolError, ToolError
from ecot.outcomes import Execution, Label, Stage

PREFIX = "Vbench"
"""Of the generated class and its files."""
OUTPUT_FOLDER = "generated"
"""Where Verilator writes."""
PROGRAM = "simulation"

_FLAGS = ("-std=gnu++20", "-fcoroutines", "-fcf-protection=none", "-w", "-pthread")
_DEFINITIONS = tuple(
    f"-D{name}=0" for name in ("VM_COVERAGE", "VM_SC", "VM_TRACE", "VM_TRACE_FST", "VM_TRACE_VCD", "VM_TRACE_SAIF")
)
_HOOKS = tuple(f"-DVL_USER_{name}" for name in ("FINISH", "STOP", "FATAL"))
"""These functions of the runtime stand in `verilator_main.cpp`."""
_RUNTIME = ("verilated", "verilated_timing", "verilated_threads", "verilated_probdist", "verilated_random")
"""Sources of the runtime, as far as this version has them."""
_HEADER = "precompiled.h"
_HEADER_TEXT = b'#include "verilated.h"\n#include "verilated_timing.h"\n#include <cstdio>\n#include <cstdlib>\n'
_SYSTEM_HEADERS = Path("/usr/include")

_RUNTIME_SECONDS = 300
_MEMORY_MIB = 3072
_SCRATCH_BYTES = 512 * MEBIBYTE


class ModelBuilder:
    """The C++ compiler, with the parts of a build that all designs share."""

    def __init__(self, sandbox: Sandbox, root: Path) -> None:
        """Find the compiler.

        Args:
            sandbox: where it runs.
            root: Verilator's, which holds `include`.

        Raises:
            MissingToolError: g++ is not installed.
        """
        gxx = shutil.which("g++")
        if gxx is None:
            raise MissingToolError(
                "g++ is not installed; get it with `apt install g++`, or set the backend's option `simulator` to icarus"
            )
        self._gxx = gxx
        self._sandbox = sandbox
        self._include = root / "include"
        self._read_only = (self._include, _SYSTEM_HEADERS)
        self._parts: Mapping[str, bytes] = {}
        self._objects = tuple(f"{name}.o" for name in _RUNTIME if (self._include / f"{name}.cpp").is_file())
        self._making = Slots(1)
        version = output_of([gxx, "--version"], r"(\d+\.\d+\.\d+)")
        self.identity = " ".join(("g++", version, *_FLAGS, *_DEFINITIONS, *_HOOKS))

    async def build(self, generated: Mapping[str, bytes], seed: int, cpu_seconds: int) -> bytes | Execution:
        """The program of a design, or why the candidate has none.

        Args:
            generated: Verilator's sources and headers, by name under `OUTPUT_FOLDER`.
            seed: of what is uninitialised or random.
            cpu_seconds: for the compiler.

        Raises:
            ToolError: the generated sources do not compile.
        """
        sources = sorted(name for name in generated if name.endswith(".cpp"))
        text = "".join(f'#include "{name}"\n' for name in sources) + f"#define ECOT_SEED {seed}\n"
        main = resources.files("ecot.backends.chip_design") / "verilator_main.cpp"
        files = {**await self._shared_parts(), **generated, "all.cpp": text.encode() + main.read_bytes()}
        arguments = ("-O0", "-include", _HEADER, f"-I{OUTPUT_FOLDER}", "all.cpp", *self._objects, "-o", PROGRAM)
        result = await self._compile((*arguments, "-latomic"), files, (PROGRAM,), cpu_seconds)
        if result.exit_code == 0 and PROGRAM in result.outputs:
            return result.outputs[PROGRAM]
        if b"CPU time limit exceeded" in result.stderr:  # the driver tells how the compiler proper ended
            return Execution(Label.TIMEOUT, "compile", Stage.COMPILE, "the compiler was stopped: out of time\n")
        if (stopped := judge_limits(result, "g++")) is not None:
            return stopped
        raise ToolError(f"g++ does not compile what Verilator wrote: {_first_error(result)}")

    async def _shared_parts(self) -> Mapping[str, bytes]:
        async with self._making.take():
            if not self._parts:
                compiled = f"{_HEADER}.gch"
                arguments = ("-O0", "-x", "c++-header", _HEADER, "-o", compiled)
                header = await self._compile(arguments, {_HEADER: _HEADER_TEXT}, (compiled,), _RUNTIME_SECONDS)
                sources = [str(self._include / f"{name.removesuffix('.o')}.cpp") for name in self._objects]
                runtime = await self._compile(("-O1", *_HOOKS, "-c", *sources), {}, self._objects, _RUNTIME_SECONDS)
                for result in (header, runtime):
                    if result.exit_code != 0:
                        raise ToolError(f"g++ does not compile Verilator's runtime: {_first_error(result)}")
                self._parts = {_HEADER: _HEADER_TEXT, **header.outputs, **runtime.outputs}
        return self._parts

    async def _compile(
        self, arguments: tuple[str, ...], files: Mapping[str, bytes], outputs: tuple[str, ...], cpu_seconds: int
    ) -> SandboxResult:
        return await self._sandbox.run(
            SandboxCommand(
                argv=(self._gxx, *_FLAGS, *_DEFINITIONS, f"-I{self._include}", f"-I{self._include}/vltstd", *arguments),
                inputs=files,
                outputs=outputs,
                limits=Limits(
                    cpu_seconds=cpu_seconds,
                    wall_seconds=cpu_seconds * 8.0,
                    memory_bytes=_MEMORY_MIB * MEBIBYTE,
                    scratch_bytes=_SCRATCH_BYTES,
                    output_bytes=MEBIBYTE,
                    processes=32,
                ),
                read_only=self._read_only,
            )
        )


def _first_error(result: SandboxResult) -> str:
    lines = result.stderr.decode("utf-8", "replace").splitlines()
    told = [line for line in lines if "error" in line or "undefined reference" in line]
    return "\n".join((told or lines or [f"exit code {result.exit_code}, signal {result.signal}"])[:5])
