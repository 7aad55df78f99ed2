"""Compile the kernels of an interpreted module for a GPU that need not be there, and read what they take.

The interpreter and the compiler want different objects behind `@triton.jit`: the library's own functions (`tl.sum`)
exist in one form or the other, as the import found it. Everything is imported for the interpreter; for the time of a
compilation each such function is replaced by its compilable twin.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""Keywords of a launch that go to the compiler."""

_USAGE = re.compile(r"REG:(\d+) STACK:(\d+)")
_CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


class TargetCompiler:
    """Compiles each kernel once per signature and set of constants."""

    def __init__(self, arch: int, namespace: dict[str, Any]) -> None:
        """Args: `arch` as in `sm_90`; `namespace`, the globals of the candidate's module."""
        self._target = GPUTarget("cuda", arch, 32)
        self._namespace = namespace
        self._twins: dict[Any, JITFunction[Any]] = {}
        self._seen: set[str] = set()

    def compile(self, kernel: Any, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, int] | None:
        """Registers per thread, shared and local memory in bytes of one kernel; None if that was told before.

        Args:
            kernel: the interpreted function.
            arguments: all its arguments by name.
            options: those of `OPTIONS` that the launch names.

        Raises:
            triton.CompilationError: with the source line.
        """
        constants, signature = {}, {}
        annotations = kernel.fn.__annotations__
        for index, (name, value) in enumerate(arguments.items()):
            if value is None or _is_constexpr(annotations.get(name)):
                constants[(index,)] = value
                signature[name] = "constexpr"
            else:
                signature[name] = triton.runtime.jit.mangle_type(value)
        key = repr((kernel.fn.__qualname__, signature, constants, sorted(options.items())))
        if key in self._seen:
            return None
        self._seen.add(key)
        with self._compilable():
            source = ASTSource(self._twin(kernel), signature=signature, constexprs=constants)
            compiled = triton.compile(source, target=self._target, options=dict(options))
        usage = _resource_usage(compiled.asm["cubin"])
        return {"registers": usage[0], "local_bytes": usage[1], "shared_bytes": int(compiled.metadata.shared)}

    def _twin(self, function: Any) -> JITFunction[Any]:
        if function not in self._twins:
            self._twins[function] = JITFunction(function.fn)
        return self._twins[function]

    @contextlib.contextmanager
    def _compilable(self) -> Iterator[None]:
        spaces = [vars(module) for name, module in sys.modules.items() if name.startswith("triton.language")]
        replaced: list[tuple[dict[str, Any], str, Any]] = []
        methods: list[tuple[str, Any]] = []
        for space in [*spaces, self._namespace]:
            for name, value in list(space.items()):
                if isinstance(value, InterpretedFunction):
                    replaced.append((space, name, value))
                    space[name] = self._twin(value)
        for name, value in list(vars(tl.tensor).items()):
            inner = _interpreted_inside(value)
            if inner is not None:
                methods.append((name, value))
                setattr(tl.tensor, name, self._twin(inner))
        try:
            yield
        finally:
            for space, name, value in replaced:
                space[name] = value
            for name, value in methods:
                setattr(tl.tensor, name, value)


def _interpreted_inside(value: Any) -> Any:
    """Methods like `x.sum()` are closures around the library's function."""
    if isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            if isinstance(cell.cell_contents, InterpretedFunction):
                return cell.cell_contents
    return None


def _is_constexpr(annotation: Any) -> bool:
    return annotation is tl.constexpr or (isinstance(annotation, str) and annotation.endswith("constexpr"))


def _resource_usage(cubin: bytes) -> tuple[int, int]:
    file = Path("kernel.cubin")
    file.write_bytes(cubin)
    done = subprocess.run([_CUOBJDUMP, "-res-usage", str(file)], capture_output=True, text=True)
    match = _USAGE.search(done.stdout)
    if match is None:
        raise RuntimeError(f"cuobjdump told no resource usage: {done.stdout} {done.stderr}")
    return int(match[1]), int(match[2])
