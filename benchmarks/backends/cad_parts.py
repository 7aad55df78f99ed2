"""Parts of a few operations, and mutants of them: what a CAD script costs where the geometry itself costs little.

The shipped tasks are industrial parts of some hundred faces; these have the size of the examples in a manual of
CadQuery. Each mutant changes one number or leaves out one call, as a first attempt at a script gets things wrong.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from ecot.backends.cad_3d.inspection import FILE
from ecot.outcomes import Domain
from ecot.tasks.bundle import Task


@dataclass(frozen=True)
class _Part:
    """A script, the box that its solid fills (least and greatest x, y and z, mm) and a point in its material."""

    script: str
    box: tuple[float, float, float, float, float, float]
    inside: tuple[float, float, float]


_PARTS = {
    "block": _Part("box(80, 60, 10)", (-40, 40, -30, 30, -5, 5), (10, 10, 0)),
    "bored_block": _Part("box(80, 60, 10).faces('>Z').workplane().hole(22)", (-40, 40, -30, 30, -5, 5), (30, 20, 0)),
    "bearing_plate": _Part(
        "box(80, 60, 10).faces('>Z').workplane().hole(22)"
        ".faces('>Z').workplane().rect(70, 50, forConstruction=True).vertices().cboreHole(3, 6, 2)",
        (-40, 40, -30, 30, -5, 5),
        (20, 0, 0),
    ),
    "round_plate": _Part("circle(50).rect(12, 20).extrude(8)", (-50, 50, -50, 50, 0, 8), (30, 0, 4)),
    "lines_and_arc": _Part(
        "lineTo(20, 0).lineTo(20, 10).threePointArc((10, 15), (0, 10)).close().extrude(3)",
        (0, 20, 0, 15, 0, 3),
        (10, 5, 1),
    ),
    "point_list": _Part(
        "circle(30).extrude(4).faces('>Z').workplane().pushPoints([(15, 0), (0, 15), (-15, 0), (0, -15)]).hole(4)",
        (-30, 30, -30, 30, 0, 4),
        (5, 5, 2),
    ),
    "hexagon_holes": _Part(
        "box(40, 60, 5).pushPoints([(0, 15), (0, -15)]).polygon(6, 12).cutThruAll()",
        (-20, 20, -30, 30, -2.5, 2.5),
        (15, 0, 0),
    ),
    "mirrored_beam": _Part(
        "polyline([(0, 50), (25, 50), (25, 45), (3, 45), (3, 0), (0, 0)]).close().extrude(100)",
        (0, 25, 0, 50, 0, 100),
        (10, 47, 50),
    ),
    "offset_plane": _Part(
        "box(30, 20, 15).faces('<X').workplane(offset=-2).circle(6).extrude(12)",
        (-25, 15, -10, 10, -7.5, 7.5),
        (0, 0, 0),
    ),
    "shelled_box": _Part("box(20, 20, 20).faces('+Z').shell(-2)", (-10, 10, -10, 10, -10, 10), (9, 0, 0)),
    "loft": _Part(
        "rect(30, 20).workplane(offset=25).rect(12, 8).loft(combine=True)", (-15, 15, -10, 10, 0, 25), (0, 0, 5)
    ),
    "countersunk": _Part(
        "box(40, 40, 6).faces('>Z').workplane().rect(26, 26, forConstruction=True).vertices().cskHole(3, 7, 82)",
        (-20, 20, -20, 20, -3, 3),
        (0, 0, 0),
    ),
    "rounded_block": _Part("box(30, 30, 10).edges('|Z').fillet(4)", (-15, 15, -15, 15, -5, 5), (0, 0, 0)),
    "split_block": _Part(
        "box(20, 20, 20).faces('>Z').workplane().circle(5).cutThruAll().faces('>Y').workplane(-10).split(keepTop=True)",
        (-10, 10, 0, 10, -10, 10),
        (9, 5, 0),
    ),
    "revolved_ring": _Part(
        "center(20, 0).rect(6, 10).revolve(360, (-20, 0), (-20, 1))", (-23, 23, -5, 5, -23, 23), (20, 0, 0)
    ),
    "swept_tube": _Part(
        "circle(4).sweep(cq.Workplane('XZ').lineTo(0, 30))",
        (-4, 4, -4, 4, 0, 30),
        (0, 0, 10),
    ),
}

_NUMBER = re.compile(r"(?<![\w'])\d+(?![\w'])")
_CALL = re.compile(r"\.\w+\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")
_CHANGES = (lambda value: value // 2, lambda value: value * 2, lambda value: value + 1, lambda value: -value)


def part_jobs(count: int, seed: int) -> list[tuple[Task, str]]:
    """Distinct mutants, each with its part's task: as many of one part as of another, in turn."""
    rng = random.Random(seed)
    tasks = [_task(name, part) for name, part in _PARTS.items()]
    mutants = {task.id: sorted(_mutants(task.reference)) for task in tasks}
    for found in mutants.values():
        rng.shuffle(found)
    jobs = [(task, mutants[task.id][turn]) for turn in range(count) for task in tasks if turn < len(mutants[task.id])]
    return jobs[:count]


def _task(name: str, part: _Part) -> Task:
    beyond = [[part.box[axis] + side * 1000 for axis in (0, 2, 4)] for side in (-1, 1, 2)]
    plan = {"box_mm": list(part.box), "inside": [list(part.inside)] * 3, "outside": beyond}
    return Task(
        id=f"part_{name}",
        domain=Domain.CAD_3D,
        title=name,
        spec=name,
        language="python",
        reference=f"import cadquery as cq\n\nresult = cq.Workplane().{part.script}\n",
        entry="result",
        hidden={FILE: yaml.safe_dump(plan)},
    )


def _mutants(script: str) -> Iterator[str]:
    for number in _NUMBER.finditer(script):
        for change in _CHANGES:
            value = change(int(number[0]))
            if value != int(number[0]):
                yield f"{script[: number.start()]}{value}{script[number.end() :]}"
    for call in _CALL.finditer(script):
        yield script[: call.start()] + script[call.end() :]
