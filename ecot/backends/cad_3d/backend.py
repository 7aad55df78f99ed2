"""The CadQuery backend: run the script, take its solid, measure and compare it in a process of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecot.backends.cad_3d.exchange import (
    CANDIDATE,
    COMPARISON,
    FACTS,
    PICTURE,
    REFERENCE,
    REPORT,
    SCRIPT,
    SOLID,
    STEP,
    STL,
)
from ecot.backends.cad_3d.inspection import findings, read_inspection
from ecot.backends.cad_3d.judging import (
    judge_comparison,
    judge_facts,
    judge_script,
    read_notes,
    refuse_broken,
)
from ecot.backends.cad_3d.settings import CadSettings, read_settings
from ecot.backends.cad_3d.tool import cadquery_identity
from ecot.backends.candidate_text import screen_source
from ecot.backends.fingerprint import fingerprint_of
from ecot.backends.sandbox.command import MEBIBYTE, Limits
from ecot.backends.sandbox.fork_server import ForkCommand, ForkPool, ForkResult, ForkServerSpec
from ecot.backends.tool_backend import ToolBackend, default_workers
from ecot.errors import DataError, ToolError
from ecot.outcomes import Domain, Execution, Label, Stage
from ecot.tasks.bundle import Task

_ROOM = "ecot.backends.cad_3d"
BUILD = f"{_ROOM}.building:build"
_INSIDE = ("lean_import", "exchange", "voxels", "picture", "building", "measuring", "exporting", "warm_up")
SERVER = ForkServerSpec(
    modules=tuple(f"{_ROOM}.{name}" for name in _INSIDE),
    scratch_bytes=64 * MEBIBYTE,
    memory_bytes=3072 * MEBIBYTE,
)
"""CadQuery takes seconds to import: once per server."""

_NUL_MESSAGE = "SyntaxError: NUL character in the source"
_WALL_FACTOR = 12.0
_WALL_EXTRA = 10.0
"""Seconds. A busy machine must not turn a slow candidate into one that cannot be judged."""
_VOXEL_IOU = 0.99
"""What passes on a grid, where two approximations of one curved surface differ at some points."""
_DOUBT = 0.05
"""By how much Boolean operations and grid may differ before the former are taken for broken."""


@dataclass(frozen=True)
class _Reference:
    """What candidates of a task are compared with."""

    solid: bytes
    facts: dict[str, Any]


class CadQueryBackend(ToolBackend):
    """Runs CAD tasks on CadQuery, each script in a forked process of a sandboxed server."""

    name = "cadquery"
    domains = frozenset({Domain.CAD_3D})

    def __init__(self, *, workers: int | None = None, artifacts: Path | None = None) -> None:
        """Find tool and sandbox; the servers start with the first executions.

        Args:
            workers: executions at once, and so servers, of some 300 MB each; by default the number of cores that this
                process may use.
            artifacts: a folder in which every solid that is judged is kept too, as STEP, STL and a picture, under the
                task's id and a hash of the code.

        Raises:
            MissingToolError: CadQuery is not installed.
            SandboxError: no sandbox can be had.
        """
        identity = cadquery_identity()
        workers = default_workers() if workers is None else workers
        self._pool = ForkPool(SERVER, workers=workers)
        self._artifacts = artifacts
        self._references: dict[str, _Reference] = {}
        super().__init__(workers, fingerprint_of((identity,), ("cad_3d",)))

    async def _prepare(self, task: Task, code: str) -> None:
        await self._reference(task)

    async def _outcome(self, task: Task, code: str) -> Execution:
        if refused := screen_source(code, SCRIPT, _NUL_MESSAGE):
            return refused
        return await self._judge(task, code, await self._reference(task))

    async def export(self, task: Task, code: str) -> dict[str, bytes]:
        """The solid of a candidate as `solid.step`, `solid.stl` and a picture `solid.png`; empty if it has none.

        Raises:
            ToolError: tool or sandbox are broken.
        """
        settings = read_settings(task)
        solid = judge_script(await self._run_script(task, code, settings))
        if isinstance(solid, Execution):
            return {}
        return await self._export(solid, settings)

    async def _export(self, solid: bytes, settings: CadSettings) -> dict[str, bytes]:
        result = await self._call("exporting:export", settings, {}, {SOLID: solid}, (STEP, STL, PICTURE))
        return dict(result.outputs)

    async def _keep(self, folder: Path, code: str, solid: bytes, settings: CadSettings) -> None:
        """Write a solid's exports, each under a name of its own first, so that none is ever seen in part."""
        name = hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in (await self._export(solid, settings)).items():
            partial = folder / f".{name}{Path(file).suffix}"
            partial.write_bytes(content)
            partial.rename(folder / f"{name}{Path(file).suffix}")

    def close(self) -> None:
        """End the servers; the next execution starts new ones."""
        self._pool.close()

    async def _reference(self, task: Task) -> _Reference:
        """The reference's solid, built and measured once, and found sound."""
        key = task.hash
        if key not in self._references:
            settings = read_settings(task)
            solid = judge_script(await self._run_script(task, task.reference, settings))
            if isinstance(solid, Execution):
                raise _broken_reference(task, solid)
            self._references[key] = _Reference(solid, await self._inspect(task, solid, settings))
        return self._references[key]

    async def _inspect(self, task: Task, reference: bytes, settings: CadSettings) -> dict[str, Any]:
        """The facts of the reference's solid.

        Raises:
            ToolError: it is broken in itself, or not what its inspection plan says.
        """
        plan = read_inspection(task)
        points = {"inside": plan.inside, "outside": plan.outside}
        result = await self._call("measuring:inspect", settings, points, {REFERENCE: reference}, (FACTS,))
        found = _read(result, FACTS)
        if found is None:
            raise ToolError(f"task {task.id}: the reference's solid cannot be measured")
        if broken := judge_facts(found, settings):
            raise _broken_reference(task, broken)
        if lines := findings(plan, found):
            raise ToolError(f"task {task.id}: the reference fails its inspection: {'; '.join(lines)}")
        return dict(found["reference"])

    async def _judge(self, task: Task, code: str, reference: _Reference) -> Execution:
        settings = read_settings(task)
        ran = await self._run_script(task, code, settings)
        solid = judge_script(ran)
        if isinstance(solid, Execution):
            return solid
        if self._artifacts is not None:
            await self._keep(self._artifacts / task.id, code, solid, settings)
        return await self._compare(solid, reference, settings, ran.outputs.get(REPORT, b""))

    async def _run_script(self, task: Task, code: str, settings: CadSettings) -> ForkResult:
        files = {name: text.encode() for name, text in task.environment.items()}
        if SCRIPT in files:
            raise DataError(f"task {task.id}: key 'environment': {SCRIPT!r} is the candidate's own name")
        files[SCRIPT] = code.encode("utf-8", "replace")
        limits = _limits(settings.run_seconds, settings.memory_mib)
        command = ForkCommand(BUILD, {"entry": task.entry}, files, (REPORT, SOLID), limits)
        return await self._pool.run(command)

    async def _compare(self, solid: bytes, reference: _Reference, settings: CadSettings, report: bytes) -> Execution:
        if solid == reference.solid:
            # The same bytes are the same solid: references, and candidates that build it in the same way.
            facts = {"candidate": reference.facts, "reference": reference.facts}
            return judge_comparison(facts, {"iou": 1.0}, settings.iou, [])
        files = {CANDIDATE: solid, REFERENCE: reference.solid}
        arguments = {"solids": settings.solids or reference.facts["solids"], "reference": reference.facts}
        result = await self._call("measuring:judge", settings, arguments, files, (FACTS, COMPARISON))
        if FACTS not in result.outputs:
            return Execution(Label.GEOMETRY_ERROR, "invalid", Stage.CHECK, "the solid cannot be measured\n")
        facts = json.loads(result.outputs[FACTS])
        if broken := judge_facts(facts, settings):
            return broken
        notes = read_notes(report)
        comparison = _read(result, COMPARISON)
        if comparison is not None and not _is_doubtful(facts, comparison, settings.iou):
            return judge_comparison(facts, comparison, settings.iou, notes)
        gridded = await self._call("measuring:compare_by_voxels", settings, {}, files, (COMPARISON,))
        estimate = _read(gridded, COMPARISON)
        if comparison is not None and (estimate is None or abs(estimate["iou"] - comparison["iou"]) < _DOUBT):
            return judge_comparison(facts, comparison, settings.iou, notes)
        if estimate is None:
            return Execution(Label.GEOMETRY_ERROR, "invalid", Stage.CHECK, "the solid cannot be compared\n")
        return judge_comparison(facts, estimate, min(settings.iou, _VOXEL_IOU), notes)

    async def _call(
        self, entry: str, settings: CadSettings, arguments: Any, files: Mapping[str, bytes], outputs: tuple[str, ...]
    ) -> ForkResult:
        """A call without any code of a candidate's."""
        limits = _limits(settings.compare_seconds, settings.memory_mib)
        result = await self._pool.run(ForkCommand(f"{_ROOM}.{entry}", arguments, files, outputs, limits))
        refuse_broken(result, "the comparison")
        if result.server_lost:
            raise ToolError("the fork server was killed during a comparison, where no candidate runs")
        return result


def _broken_reference(task: Task, outcome: Execution) -> ToolError:
    return ToolError(
        f"task {task.id}: the reference does not pass on {cadquery_identity()}: "
        f"{outcome.label} {outcome.subcode}\n{outcome.diagnostics}"
    )


def _read(result: ForkResult, name: str) -> dict[str, Any] | None:
    content = result.outputs.get(name, b"")
    return json.loads(content) if content else None


def _is_doubtful(facts: Mapping[str, Any], comparison: Mapping[str, Any], needed: float) -> bool:
    """Whether Boolean operations found two solids different that agree in volume, size and place."""
    if comparison["iou"] >= needed:
        return False
    found, wanted = facts["candidate"], facts["reference"]
    size = max(abs(value) for value in wanted["box"])
    places = zip([*found["box"], *found["centre"]], [*wanted["box"], *wanted["centre"]], strict=True)
    same_place = all(abs(a - b) <= 1e-4 * size for a, b in places)
    return same_place and abs(found["volume"] / wanted["volume"] - 1) <= 1e-4


def _limits(cpu_seconds: int, memory_mib: int) -> Limits:
    return Limits(
        cpu_seconds=cpu_seconds,
        wall_seconds=cpu_seconds * _WALL_FACTOR + _WALL_EXTRA,
        memory_bytes=memory_mib * MEBIBYTE,
        scratch_bytes=SERVER.scratch_bytes,
        output_bytes=256 * 1024,
        processes=8,
    )
