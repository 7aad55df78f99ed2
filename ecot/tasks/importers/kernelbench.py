"""KernelBench (https://github.com/ScalingIntelligence/KernelBench, MIT).

A task is a Python file `levelN/K_Name.py` with a class `Model`, `get_inputs()` and `get_init_inputs()`; there are no
kernel solutions. Its shapes fill a GPU and take tens of seconds and gigabytes on a CPU, so `read` reduces them and
`read_full` does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ecot.errors import DataError
from ecot.outcomes import Domain
from ecot.tasks.importers.source import ImportedTask, read_text
from ecot.tasks.importers.torch_reference import RULE, SETTINGS, baseline

LARGEST = 32
"""Sizes above this are halved until they are no larger, or odd: products and divisors stay whole."""

_REDUCED_LEVELS = ("level1", "level2")
"""Whole networks (level 3) depend on their sizes in ways that no rule can follow: only their batch is reduced."""

_ORACLE = """

CASES = [{"case": 0}, {"case": 1}]


def make(rng, case):
    seed = int(rng.integers(2**31))
    torch.manual_seed(seed)
    values = {"@seed": seed}
    for kind, found in (("init", get_init_inputs()), ("input", get_inputs())):
        for index, value in enumerate(found):
            values[f"@init.{index}" if kind == "init" else f"input_{index}"] = plain(value)
    return values


def expected(**values):
    torch.manual_seed(values.pop("@seed"))
    init = [value for name, value in values.items() if name.startswith("@init.")]
    inputs = [tensor(value) for name, value in values.items() if not name.startswith("@")]
    with torch.no_grad():
        found = Model(*init)(*inputs)
    found = found if isinstance(found, (tuple, list)) else [found]
    return {f"output_{index}": value.numpy() for index, value in enumerate(found)}


def plain(value):
    return value.numpy() if isinstance(value, torch.Tensor) else value


def tensor(value):
    return torch.from_numpy(value) if hasattr(value, "dtype") else value
"""


def read(source: Path) -> Iterator[ImportedTask]:
    """The tasks of a folder that holds `level1`, `level2` ..., with sizes that a CPU can bear.

    Raises:
        DataError: a file is not in the expected form.
    """
    return _read(source, reduced=True)


def read_full(source: Path) -> Iterator[ImportedTask]:
    """The same with the benchmark's own sizes, for a GPU."""
    return _read(source, reduced=False)


def _read(source: Path, reduced: bool) -> Iterator[ImportedTask]:
    for path in sorted(source.glob("level*/*.py")):
        level = path.parent.name
        code = read_text(path).rstrip() + "\n"
        tree = _check(path, code)
        if reduced:
            code = reduce_sizes(code, tree, batch_only=level not in _REDUCED_LEVELS)
        candidate = f"{code}\n\nclass ModelNew(Model):\n    pass\n"
        yield ImportedTask(
            name=f"{level}_{path.stem}",
            title=path.stem.partition("_")[2].replace("_", " ").strip(),
            domain=Domain.GPU_OPTIMIZATION,
            language="python",
            entry="ModelNew",
            spec=_spec(code),
            reference=("reference.py", baseline(candidate)),
            hidden={"oracle.py": f"{code}{_ORACLE}"},
            tags=("kernelbench", level),
            settings={**SETTINGS, "module": True},
        )


def reduce_sizes(code: str, tree: ast.Module, batch_only: bool) -> str:
    """The module with smaller whole numbers in its top-level constants, or only in those whose names say `batch`."""
    lines = code.splitlines(keepends=True)
    places = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = [
                part.id.lower() for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)
            ]
            if batch_only and not any("batch" in name for name in names):
                continue
            places += [number for number in ast.walk(node.value) if isinstance(number, ast.Constant)]
    for number in sorted(places, key=lambda place: (-place.lineno, -place.col_offset)):
        if type(number.value) is int and number.end_col_offset is not None:
            line = lines[number.lineno - 1]
            small = min(number.value, 2) if batch_only else _smaller(number.value)
            lines[number.lineno - 1] = line[: number.col_offset] + str(small) + line[number.end_col_offset :]
    return "".join(lines)


def _smaller(value: int) -> int:
    while value > LARGEST and value % 2 == 0:
        value //= 2
    return value


def _check(path: Path, code: str) -> ast.Module:
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        raise DataError(f"{path}: not Python: {error.msg} in line {error.lineno}") from error
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    if missing := {"Model", "get_inputs", "get_init_inputs"} - names:
        raise DataError(f"{path}: defines no {', '.join(sorted(missing))}")
    return tree


def _spec(code: str) -> str:
    return (
        "Speed up the following PyTorch module with Triton kernels of your own. Write a class `ModelNew` that is built "
        "and called like `Model`, holds the same parameters (made in the same order, so that the same seed gives the "
        f"same values) and returns the same results.\n\n```python\n{code}```\n\n{RULE}"
    )
