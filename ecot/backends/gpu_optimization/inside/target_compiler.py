"""Compile the kernels of an interpreted module for a GPU that need not be there, and read what they take.

The interpreter and the compiler want different objects behind `@triton.jit`: the library's own functions (`tl.sum`)
exist in one form or the other, as the import found it. Everything is imported for the interpreter, which besides
replaces members of the language and does not always put them back. For the time of a compilation each of these is
what a compiling process would have found.
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


_TWINS: dict[Any, JITFunction[Any]] = {}


def _twin(function: Any) -> JITFunction[Any]:
    """The compilable form of an interpreted function."""
    if function.fn not in _TWINS:
        _TWINS[function.fn] = JITFunction(function.fn)
    return _TWINS[function.fn]


def _compilable(value: Any) -> Any:
    """What takes the place of a member of the language."""
    if isinstance(value, InterpretedFunction):
        return _twin(value)
    if isinstance(value, types.FunctionType):
        # Methods like `x.sum()` are closures around the library's function.
        for cell in value.__closure__ or ():
            if isinstance(cell.cell_contents, InterpretedFunction):
                return _twin(cell.cell_contents)
    return value


def _language() -> list[tuple[Any, str, Any]]:
    """Owner, name and compilable form of every member of the language; to be called before anything is interpreted."""
    owners: list[Any] = [module for name, module in sys.modules.items() if name.startswith("triton.language")]
    owners += [value for value in vars(tl.core).values() if isinstance(value, type)]
    found = []
    for owner in dict.fromkeys(owners):
        for name, value in vars(owner).items():
            if callable(value) or isinstance(value, property):
                found.append((owner, name, _compilable(value)))
    return found


_LANGUAGE = _language()


class TargetCompiler:
    """Compiles each kernel once per signature and set of constants."""

    def __init__(self, arch: int, namespace: dict[str, Any]) -> None:
        """Args: `arch` as in `sm_90`; `namespace`, the globals of the candidate's module."""
        self._target = GPUTarget("cuda", arch, 32)
        self._namespace = namespace
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
        key = repr((id(kernel.fn), signature, constants, sorted(options.items())))
        if key in self._seen:
            return None
        self._seen.add(key)
        with self._compiling():
            source = ASTSource(_twin(kernel), signature=signature, constexprs=constants)
            compiled = triton.compile(source, target=self._target, options=dict(options))
        usage = _resource_usage(compiled.asm["cubin"])
        return {"registers": usage[0], "local_bytes": usage[1], "shared_bytes": int(compiled.metadata.shared)}

    @contextlib.contextmanager
    def _compiling(self) -> Iterator[None]:
        replaced = []
        for owner, name, value in _LANGUAGE:
            current = vars(owner).get(name)
            if current is not value:
                replaced.append((owner, name, current))
                setattr(owner, name, value)
        own = {name: value for name, value in self._namespace.items() if isinstance(value, InterpretedFunction)}
        self._namespace.update({name: _twin(value) for name, value in own.items()})
        try:
            yield
        finally:
            self._namespace.update(own)
            for owner, name, value in replaced:
                setattr(owner, name, value)


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
