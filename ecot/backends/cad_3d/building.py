"""Runs inside a fork server: execute a candidate's script and leave its solid behind.

This shares its process with the candidate, so that nothing it leaves is to be believed: it gives no verdict. The solid
is judged by another process (`measuring.py`), which has no code of the candidate's in it.
"""

from __future__ import annotations

import functools
import json
import linecache
import os
import re
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import cadquery as cq

from ecot.backends.cad_3d.exchange import DISK_FULL, REPORT, SCRIPT, SOLID

_WATCHED = ("shell", "fillet", "chamfer", "cut", "cutBlind", "cutThruAll", "hole", "cboreHole", "cskHole", "intersect")
"""Operations that the kernel may leave without effect and without a word."""
_UNCHANGED = 1e-9
_MOST_MESSAGE = 300
_MOST_NOTES = 5


def build(arguments: dict[str, Any]) -> None:
    """Run `SCRIPT`; leave `REPORT` and, if all went well, `SOLID`.

    Args:
        arguments: `entry`, the variable that holds the solid.
    """
    notes: list[dict[str, Any]] = []
    report: dict[str, Any] = {"notes": notes}
    try:
        shape = _solid_of(_run(Path(SCRIPT).read_text("utf-8"), arguments["entry"], notes), arguments["entry"])
        content = BytesIO()
        shape.exportBrep(content)
        Path(SOLID).write_bytes(content.getvalue())
    except NoSolidError as refusal:
        report["failure"] = {"kind": refusal.kind, "message": str(refusal)}
    except Exception as error:  # noqa: BLE001  a candidate may raise anything, and each is an outcome
        report["failure"] = _describe(error)
    try:
        Path(REPORT).write_text(json.dumps(report))
    except OSError:
        raise SystemExit(DISK_FULL) from None


class NoSolidError(Exception):
    """The script ran, but left no solid."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _run(source: str, entry: str, notes: list[dict[str, Any]]) -> Any:
    """What the script leaves in the variable `entry`, or gave to `show_object`, as in the CadQuery editor."""
    code = compile(source, SCRIPT, "exec", dont_inherit=True)
    linecache.cache[SCRIPT] = (len(source), None, source.splitlines(keepends=True), SCRIPT)
    for name in _WATCHED:
        setattr(cq.Workplane, name, _watched(name, vars(cq.Workplane)[name], notes))
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    shown: list[Any] = []
    module.__dict__["show_object"] = lambda shape, *_args, **_options: shown.append(shape)
    module.__dict__["debug"] = lambda *_args, **_options: None
    owner = os.getpid()
    try:
        exec(code, module.__dict__)
    except SystemExit:
        if entry not in module.__dict__:
            raise NoSolidError(
                "no_result", f"the script ended by itself before it had set the variable `{entry}`"
            ) from None
    finally:
        if os.getpid() != owner:
            os._exit(0)  # A process that the script forked must not write our files as well.
    if entry in module.__dict__:
        return module.__dict__[entry]
    if shown:
        return shown[-1]
    raise NoSolidError("no_result", f"the script sets no variable `{entry}`")


def _watched(name: str, operation: Callable[..., Any], notes: list[dict[str, Any]]) -> Callable[..., Any]:
    """The operation, with a note when it leaves the volume of the body as it was."""

    @functools.wraps(operation)
    def wrapped(self: Any, *args: Any, **options: Any) -> Any:
        before = _volume(self)
        after_all = operation(self, *args, **options)
        after = _volume(after_all)
        if before is not None and after is not None and abs(after - before) <= _UNCHANGED * abs(before):
            line = _line_of(sys._getframe(1))
            if line is not None and len(notes) < _MOST_NOTES:
                notes.append({"operation": name, "line": line})
        return after_all

    return wrapped


_measured: list[tuple[Any, float]] = []
"""The body that was measured last, which is what the next operation starts from, and its volume."""


def _volume(plane: Any) -> float | None:
    try:
        body = plane.findSolid()
        if not (_measured and _measured[0][0].isSame(body)):
            _measured[:] = [(body, float(body.Volume()))]
    except (ValueError, AttributeError):  # There is no body yet, or the operation gave something else.
        return None
    return _measured[0][1]


def _line_of(frame: Any) -> int | None:
    while frame is not None and frame.f_code.co_filename != SCRIPT:
        frame = frame.f_back
    return None if frame is None else int(frame.f_lineno)


def _solid_of(value: Any, entry: str) -> Any:
    """One shape that holds all solids of the value."""
    if isinstance(value, cq.Assembly):
        value = value.toCompound()
    if isinstance(value, cq.Sketch):
        raise NoSolidError("wrong_type", f"`{entry}` is a Sketch; a solid is wanted: extrude, revolve or sweep it")
    if isinstance(value, cq.Workplane):
        shapes = [item for item in value.vals() if isinstance(item, cq.Shape)]
    elif isinstance(value, cq.Shape):
        shapes = [value]
    else:
        kind = type(value).__name__
        raise NoSolidError("wrong_type", f"`{entry}` is of type {kind}; a Workplane, a Shape or an Assembly is wanted")
    solids = [solid for shape in shapes for solid in shape.Solids()]
    if not solids:
        raise NoSolidError(
            "no_solid", f"`{entry}` holds no solid, but {_listed(shape.ShapeType() for shape in shapes)}"
        )
    return solids[0] if len(solids) == 1 else cq.Compound.makeCompound(solids)


def _listed(kinds: Iterable[str]) -> str:
    found = sorted(set(kinds))
    return ", ".join(found) if found else "nothing"


def _describe(error: Exception) -> dict[str, Any]:
    kind = "exception"
    if isinstance(error, SyntaxError):
        kind = "syntax"
    elif isinstance(error, MemoryError) or type(error).__name__ == "Standard_OutOfMemory":
        kind = "memory"
    elif isinstance(error, AssertionError):
        kind = "assertion"
    elif type(error).__module__.startswith("OCP.") or str(error) == "Null TopoDS_Shape object":
        # The kernel's own exceptions; the latter is how CadQuery says that the kernel gave nothing.
        kind = "kernel"
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == SCRIPT else _last_line(error)
    text = linecache.getline(SCRIPT, line).strip() if line else ""
    message = re.sub(r"0x[0-9a-f]+", "0x...", message)
    if len(message) > _MOST_MESSAGE:
        message = message[: _MOST_MESSAGE // 2] + " ... " + message[-_MOST_MESSAGE // 2 :]
    return {"kind": kind, "type": type(error).__name__, "message": message, "line": line, "text": text[:200]}


def _last_line(error: Exception) -> int | None:
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == SCRIPT:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
