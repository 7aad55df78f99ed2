"""What a Triton candidate may not even name: ways around the harness, told from its syntax tree before it is run.

The harness lives in the candidate's process, as that of every Python benchmark does; hence nothing there knows what is
expected, and the names by which a candidate could reach into it are refused. The sandbox contains the rest.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

ALLOWED_MODULES = frozenset(
    "torch triton math typing functools itertools dataclasses enum collections __future__".split()
)
"""Roots of what may be imported."""

_KNOWN_MODULES = frozenset(sys.stdlib_module_names) | frozenset(
    "numpy scipy cupy numba jax tensorflow pycuda ecot __main__ candidate".split()
)

_BUILTINS = frozenset(
    "eval exec compile open __import__ globals locals vars getattr setattr delattr breakpoint memoryview "
    "__builtins__ __loader__ __spec__".split()
)

_TORCH_MEMBERS = frozenset(
    "utils ops compile library hub load save jit classes multiprocessing distributed package fx overrides "
    "serialization sys os torch_version version backends profiler cpp export futures onnx testing types storage "
    "platform ctypes importlib inspect threading textwrap builtins glob".split()
)
"""Members of `torch` that lead to its inside or to the system."""

_TRITON_MEMBERS = frozenset(
    "jit autotune heuristics Config cdiv next_power_of_2 language testing runtime autotuner".split()
)
_TRITON_DEEPER = frozenset("driver active get_active_torch_device get_current_target jit autotuner".split())
_STREAMS = frozenset("Stream stream set_stream ExternalStream CUDAGraph graph graphs".split())
_DUNDERS = frozenset("__init__ __name__ __call__ __len__ __getitem__ __class__ __doc__".split())


_OWN = frozenset({"self", "cls", "ctx"})
"""Whose attributes may be set."""


@dataclass(frozen=True)
class Denial:
    """Why a candidate is not run."""

    line: int
    message: str
    missing_module: bool = False
    """Whether the reason is an import of a module that does not exist."""


def screen(tree: ast.Module) -> Denial | None:
    """The first thing that is refused, in the order of lines."""
    imported = dict(_imported_names(tree))
    denials = [denial for node in ast.walk(tree) if (denial := _screen_node(node, imported)) is not None]
    denials += _aliases(tree, imported)
    return min(denials, key=lambda denial: denial.line) if denials else None


def _imported_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names bound by imports, with the dotted path that they stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                yield (item.asname, item.name) if item.asname else (item.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module:
            for item in node.names:
                yield item.asname or item.name, f"{node.module}.{item.name}"


def _screen_node(node: ast.AST, imported: dict[str, str]) -> Denial | None:
    if isinstance(node, ast.Import):
        return next((d for item in node.names if (d := _screen_path(item.name, node.lineno, True))), None)
    if isinstance(node, ast.ImportFrom):
        if node.level or node.module is None:
            return Denial(node.lineno, "relative imports are not allowed")
        paths = [f"{node.module}.{item.name}" for item in node.names]
        return next((d for path in [node.module, *paths] if (d := _screen_path(path, node.lineno, True))), None)
    if isinstance(node, ast.Name) and node.id in _BUILTINS:
        return Denial(node.lineno, f"'{node.id}' may not be used")
    if isinstance(node, ast.Attribute):
        if node.attr.startswith("_") and node.attr not in _DUNDERS:
            return Denial(node.lineno, f"attribute '{node.attr}' may not be used")
        path = _path(node, imported)
        if path and (denial := _screen_path(path, node.lineno, False)):
            return denial
        own = isinstance(node.value, ast.Name) and node.value.id in _OWN
        if isinstance(node.ctx, ast.Store | ast.Del) and not own:
            return Denial(node.lineno, f"'{ast.unparse(node)}' may not be changed")
    return None


def _screen_path(path: str, line: int, importing: bool) -> Denial | None:
    """Whether a dotted path into a module is refused."""
    root, *members = path.split(".")
    if root not in ALLOWED_MODULES:
        if importing and root not in _KNOWN_MODULES:
            return Denial(line, f"ModuleNotFoundError: No module named '{root}'", missing_module=True)
        return Denial(line, f"module '{root}' may not be used; allowed: {', '.join(sorted(ALLOWED_MODULES))}")
    if any(member.startswith("_") for member in members):
        return Denial(line, f"'{path}' may not be used")
    if root == "torch" and members and (members[0] in _TORCH_MEMBERS or _STREAMS & set(members)):
        return Denial(line, f"'{path}' may not be used")
    if root == "triton" and members and members[0] not in _TRITON_MEMBERS:
        return Denial(line, f"'{path}' may not be used; of triton: {', '.join(sorted(_TRITON_MEMBERS))}")
    if root == "triton" and members[:1] == ["runtime"] and set(members[1:]) - _TRITON_DEEPER:
        return Denial(line, f"'{path}' may not be used")
    return None


def _path(node: ast.Attribute, imported: dict[str, str]) -> str:
    """The dotted path of `torch.cuda.Event`; empty if it does not start at an imported name."""
    parts = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name) or inner.id not in imported:
        return ""
    return ".".join([imported[inner.id], *reversed(parts)])


def _aliases(tree: ast.Module, imported: dict[str, str]) -> Iterator[Denial]:
    """Uses of a module as a value, behind which its members could be reached or changed unseen."""
    roots = {name for name, path in imported.items() if path in _MODULES}
    behind_dot = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in roots:
            if isinstance(node.ctx, ast.Store | ast.Del):
                yield Denial(node.lineno, f"the module '{node.id}' may not be bound anew")
            elif id(node) not in behind_dot:
                yield Denial(node.lineno, f"the module '{node.id}' may not be used as a value")
        elif isinstance(node, ast.Attribute) and id(node) not in behind_dot and _path(node, imported) in _MODULES:
            yield Denial(node.lineno, f"the module '{_path(node, imported)}' may not be used as a value")


_MODULES = frozenset(
    "torch torch.cuda torch.nn torch.nn.functional torch.autograd torch.linalg torch.special triton triton.language "
    "triton.language.math triton.language.extra triton.testing triton.runtime triton.runtime.driver math functools "
    "itertools typing".split()
)
