"""TritonBench-T (https://github.com/thunlp/TritonBench, Apache-2.0).

A task is a file `TritonBench_T_v1/name.py`: PyTorch functions, a line of `#`, and a test that calls the last function
and collects what it returns. `TritonBench_T_v1.jsonl` (in fact one JSON list) describes them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecot.errors import DataError
from ecot.outcomes import Domain
from ecot.tasks.importers.source import ImportedTask, read_text
from ecot.tasks.importers.torch_reference import RULE, SETTINGS, baseline

FOLDER, STATEMENTS = "TritonBench_T_v1", "TritonBench_T_v1.jsonl"

_SEPARATOR = re.compile(r"^#{40,}\s*$", re.MULTILINE)
_DEVICE = re.compile(
    r",?\s*device\s*=\s*(['\"]cuda(?::\d+)?['\"]|device)|\.cuda\(\)|\.to\(\s*(['\"]cuda['\"]|device)\s*\)"
)
_CALL = re.compile(r"^test_results\s*=.*$|^print\(.*$", re.MULTILINE)

_ORACLE = """

_CALLS = []


def plain(value):
    return value.detach().numpy().copy() if isinstance(value, torch.Tensor) else value


def tensor(value):
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _record(function):
    def recorded(*args, **kwargs):
        call = {f"arg_{index}": plain(value) for index, value in enumerate(args)}
        _CALLS.append(call | {f"kw.{name}": plain(value) for name, value in kwargs.items()})
        return function(*args, **kwargs)

    return recorded


_ENTRY = ENTRY_NAME
ENTRY_NAME = _record(ENTRY_NAME)
torch.manual_seed(0)
TEST_NAME()
CASES = [{"call": index} for index in range(len(_CALLS))]


def make(rng, call):
    values = {"@seed": int(rng.integers(2**31))}
    for name, value in _CALLS[call].items():
        # Other values of the same kind, in another order: the domain of each function stays as its test knows it.
        if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "f":
            value = rng.permutation(value)
        values[name] = value
    return values


def expected(**values):
    torch.manual_seed(values.pop("@seed"))
    args = [tensor(value) for name, value in values.items() if not name.startswith("kw.")]
    kwargs = {name[3:]: tensor(value) for name, value in values.items() if name.startswith("kw.")}
    found = _ENTRY(*args, **kwargs)
    found = found if isinstance(found, (tuple, list)) else [found]
    return {f"output_{index}": value.detach().numpy() for index, value in enumerate(found)}
"""


def read(source: Path) -> Iterator[ImportedTask]:
    """The tasks of a folder that holds `TritonBench_T_v1` and `TritonBench_T_v1.jsonl`, or of the `data` folder in it.

    Raises:
        DataError: a file is missing or not in the expected form.
    """
    root = source / "data" if (source / "data" / FOLDER).is_dir() else source
    statements = _statements(root / STATEMENTS)
    for path in sorted((root / FOLDER).glob("*.py")):
        parts = _SEPARATOR.split(read_text(path))
        if len(parts) != 2:
            raise DataError(f"{path}: {len(parts)} parts between lines of '#', not a reference and a test")
        code = parts[0].strip() + "\n"
        test = _CALL.sub("", _DEVICE.sub("", parts[1])).strip()
        entry, test_name = _last_function(path, code), _last_function(path, test)
        oracle = _ORACLE.replace("ENTRY_NAME", entry).replace("TEST_NAME", test_name)
        yield ImportedTask(
            name=f"tritonbench_{path.stem}",
            title=path.stem.replace("_", " ").strip(),
            domain=Domain.GPU_OPTIMIZATION,
            language="python",
            entry=entry,
            spec=_spec(entry, statements.get(path.name, {}), code),
            reference=("reference.py", baseline(code)),
            hidden={"oracle.py": f"import numpy as np\nimport torch\n\n{code}\n\n{test}\n{oracle}"},
            tags=("tritonbench",),
            settings={**SETTINGS, "inputs_may_change": True},
        )


def _statements(path: Path) -> Mapping[str, Any]:
    try:
        rows = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not one JSON list: {error}") from error
    return {row["file"]: row for row in rows}


def _last_function(path: Path, code: str) -> str:
    try:
        names = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError as error:
        raise DataError(f"{path}: not Python: {error.msg} in line {error.lineno}") from error
    if not names:
        raise DataError(f"{path}: defines no function before or after the line of '#'")
    return names[-1]


def _spec(entry: str, statement: Mapping[str, Any], code: str) -> str:
    parts = [f"Write the function `{entry}` with Triton kernels."]
    for key, title in (("description", ""), ("func_inputs", "Interface: "), ("math", "Formula: "), ("other", "")):
        if text := str(statement.get(key, "")).strip():
            parts.append(title + text)
    parts += [f"It must do what this PyTorch code does:\n\n```python\n{code}```", RULE]
    return "\n\n".join(parts)
