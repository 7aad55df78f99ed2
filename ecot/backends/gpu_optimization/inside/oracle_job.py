"""Draw a task's inputs and compute what is expected of them, apart from any candidate, which never sees the latter.

The hidden `oracle.py` defines `CASES`, a list of keyword sets; `make(rng, **case)`, which gives the arguments of the
entry by name, in order; and `expected(**arguments)`, which gives the outputs by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ecot.backends.gpu_optimization.inside import exchange


def draw(oracle: dict[str, Any], seed: int) -> tuple[list[exchange.Case], list[exchange.Case]]:
    """Inputs and expected outputs. The first case comes again at the end with other values.

    A candidate that keeps its first answer for a shape that it has seen is so found out.
    """
    inputs, expected = [], []
    cases = list(oracle["CASES"])
    for index, case in enumerate([*cases, cases[0]]):
        rng = np.random.default_rng([seed, index])
        arguments = {name: _plain(value) for name, value in oracle["make"](rng, **case).items()}
        copies = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in arguments.items()}
        outputs = oracle["expected"](**copies)
        inputs.append(arguments)
        expected.append({name: np.asarray(_plain(value)) for name, value in outputs.items()})
    return inputs, expected


def _plain(value: Any) -> Any:
    """Numpy's scalars as Python's, which is what a caller would pass."""
    return value.item() if isinstance(value, np.generic) else value


def run(arguments: dict[str, Any]) -> None:
    """Read `oracle.py`, leave `inputs.bin` and `expected.bin`; `arguments` holds the `seed`."""
    oracle: dict[str, Any] = {"__name__": "oracle"}
    exec(compile(Path("oracle.py").read_text("utf-8"), "oracle.py", "exec"), oracle)
    inputs, expected = draw(oracle, arguments["seed"])
    Path("inputs.bin").write_bytes(exchange.pack(inputs))
    Path("expected.bin").write_bytes(exchange.pack(expected))
