"""Runs inside a fork server, last: build, write, read and compare some solids before the first candidate comes.

What the kernel's libraries look up, and what Python learns of the code that runs often, at the first call of an
operation is then done once per server instead of once per child.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import cadquery as cq

from ecot.backends.cad_3d.measuring import compare, facts_of


def _parts() -> Iterator[Any]:
    block = cq.Workplane("XY").box(30, 20, 10)
    top = block.faces(">Z").workplane()
    corners = top.rect(20, 12, forConstruction=True).vertices()
    yield corners.hole(3)
    yield corners.cboreHole(2, 4, 1)
    yield corners.cskHole(2, 4, 82)
    yield block.edges("|Z").fillet(2).faces(">Z").edges().chamfer(0.5)
    yield block.faces(">Z").shell(-1)
    yield top.circle(4).extrude(5).faces("<Z").workplane().rect(4, 4).cutBlind(-2).rotate((0, 0, 0), (0, 0, 1), 30)
    yield top.polygon(6, 8).cutThruAll().mirror("YZ").translate((1, 0, 0))
    yield top.polarArray(6, 0, 360, 3).circle(1).cutThruAll()
    yield block.union(block.translate((5, 0, 0))).intersect(block)
    yield cq.Workplane("XZ").lineTo(5, 0).threePointArc((6, 2), (5, 4)).lineTo(0, 4).close().revolve()
    yield cq.Workplane("YZ").polyline([(0, 0), (4, 0), (4, 2)]).close().extrude(3).cut(block)
    yield cq.Workplane("XY").rect(6, 4).workplane(offset=5).circle(2).loft(combine=True)
    yield cq.Workplane("XY").circle(1).sweep(cq.Workplane("XZ").spline([(0, 0), (1, 5), (0, 9)]))
    yield cq.Workplane("XY").rarray(4, 4, 2, 2).slot2D(3, 1).extrude(2).combine()


def _handle(part: Any, other: cq.Shape) -> cq.Shape:
    """What is done with a candidate's solid: written, read, measured and compared with another."""
    written = BytesIO()
    part.combine().val().exportBrep(written)
    shape = cq.Shape.importBrep(BytesIO(written.getvalue()))
    found, wanted = facts_of(shape), facts_of(other)
    json.dumps([found, compare(shape, other, found, wanted)])
    return shape


_shape = cq.Workplane("XY").box(30, 20, 8).val()
for _part in _parts():
    _shape = _handle(_part, _shape)
