"""Runs inside the sandbox, in processes that no candidate's code ever enters: draws calls and judges results.

Three modes, given in `job.json`: `cases` runs the task's `cases(rng)` and the reference on what it yields; `record`
runs `check(candidate)` of the HumanEval form with the reference and notes the calls; `replay` runs it again with the
candidate's results in place of a candidate. Files beside: `tests.py`, `reference.py`.
"""

from __future__ import annotations

import copy
import json
import os
import random
import sys
from typing import Any

from ecot.backends.general.values import decode, encode

MAX_CALLS = 2000


class _DepartedError(Exception):
    """The check called something else than when it was recorded."""


def main() -> None:
    """Do what the job says and print one line of JSON."""
    with open("job.json", encoding="utf-8") as file:
        job = json.load(file)
    descriptor = os.dup(1)
    # Neither reference nor check may write into the answer.
    os.dup2(2, 1)
    answer = _MODES[job["mode"]](job)
    raw = (json.dumps(answer) + "\n").encode()
    while raw:
        raw = raw[os.write(descriptor, raw) :]


def _module(name: str) -> dict[str, Any]:
    with open(f"{name}.py", encoding="utf-8") as file:
        code = compile(file.read(), f"{name}.py", "exec", dont_inherit=True)
    module = type(sys)(name)
    sys.modules[name] = module
    exec(code, module.__dict__)
    return module.__dict__


def _tests(job: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The names of `tests.py`, which may use those of the reference, and the reference's function."""
    reference = _module("reference")
    with open("tests.py", encoding="utf-8") as file:
        code = compile(file.read(), "tests.py", "exec", dont_inherit=True)
    names = dict(reference)
    random.seed(job["seed"])
    exec(code, names)
    return names, reference[job["entry"]]


def _cases(job: dict[str, Any]) -> dict[str, Any]:
    names, reference = _tests(job)
    calls, results = [], []
    for arguments in names["cases"](random.Random(job["seed"])):
        calls.append(encode(arguments))
        if len(calls) > MAX_CALLS:
            raise ValueError(f"more than {MAX_CALLS} calls")
        try:
            result = reference(*copy.deepcopy(arguments))
        except Exception as error:  # noqa: BLE001 the specification asks for it, whatever it is
            results.append(["raised", [type(error).__name__, "", 0]])
        else:
            results.append(["result", encode(result)])
    return {"calls": calls, "results": results}


def _record(job: dict[str, Any]) -> dict[str, Any]:
    names, reference = _tests(job)
    calls: list[Any] = []

    def recorder(*arguments: Any) -> Any:
        calls.append(encode(arguments))
        return reference(*arguments)

    names["check"](recorder)
    return {"calls": calls}


def _replay(job: dict[str, Any]) -> dict[str, Any]:
    names, _ = _tests(job)
    done = 0

    def player(*arguments: Any) -> Any:
        nonlocal done
        if done >= len(job["calls"]) or encode(arguments) != job["calls"][done]:
            raise _DepartedError
        done += 1
        return decode(job["results"][done - 1])

    try:
        names["check"](player)
    except AssertionError as error:
        return {"failed": done - 1, "message": str(error)[:300]}
    except _DepartedError:
        return {"failed": max(done - 1, 0), "message": "the check went another way"}
    except Exception as error:  # noqa: BLE001 a check may stumble over a wrong result in any way
        return {"failed": done - 1, "message": f"{type(error).__name__}: {error}"[:300]}
    return {"failed": None, "done": done}


_MODES = {"cases": _cases, "record": _record, "replay": _replay}

if __name__ == "__main__":
    main()
