"""Runs inside a fork server, in a process without any code of a candidate's: measure a solid and compare it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cadquery as cq
import numpy as np
from OCP.BOPAlgo import BOPAlgo_Builder
from OCP.BRep import BRep_Tool
from OCP.BRepCheck import BRepCheck_Analyzer
from OCP.BRepGProp import BRepGProp
from OCP.GProp import GProp_GProps
from OCP.OSD import OSD_ThreadPool
from OCP.TopTools import TopTools_ListOfShape

from ecot.backends.cad_3d.exchange import CANDIDATE, COMPARISON, FACTS, REFERENCE, TOLD_PIECES
from ecot.backends.cad_3d.voxels import overlap

# The kernel would else start a thread per core in every child, up to its limit of processes and beyond.
OSD_ThreadPool.DefaultPool_s(1)

VOXEL_CELLS = 96
"""Along the longest side; a wall of a fiftieth of that is seen, two cells thick."""
_TOLERANCE = 1e-4
"""Of the reference's volume: how well the pieces of a Boolean operation must add up for it to be believed."""
_MOST_FACES = 20_000


def judge(arguments: dict[str, Any]) -> None:
    """Leave `FACTS` of the candidate, then `COMPARISON` by Boolean operations, if those can be trusted.

    Args:
        arguments: `solids`, how many are wanted, and `reference`, the facts of the reference.
    """
    candidate, reference = (cq.Shape.importBrep(BytesIO(Path(name).read_bytes())) for name in (CANDIDATE, REFERENCE))
    found, wanted = facts_of(candidate), arguments["reference"]
    Path(FACTS).write_text(json.dumps({"candidate": found, "reference": wanted}))
    if not (found["valid"] and found["volume"] > 0 and found["faces"] <= _MOST_FACES):
        return
    if found["solids"] != arguments["solids"]:
        return
    comparison = compare(candidate, reference, found, wanted)
    if comparison is not None:
        Path(COMPARISON).write_text(json.dumps({**comparison, "method": "boolean"}))


def compare_by_voxels(arguments: dict[str, Any]) -> None:
    """Leave a `COMPARISON` made on a grid of points."""
    shapes = [cq.Shape.importBrep(BytesIO(Path(name).read_bytes())) for name in (CANDIDATE, REFERENCE)]
    ratio, _ = overlap([mesh(shape) for shape in shapes], VOXEL_CELLS)
    Path(COMPARISON).write_text(json.dumps({"iou": ratio, "missing": [], "surplus": [], "method": "voxels"}))


def inspect(arguments: dict[str, Any]) -> None:
    """Leave the `FACTS` of the reference alone, and whether points lie inside.

    Args:
        arguments: lists of points, `inside` and `outside`.
    """
    shape = cq.Shape.importBrep(BytesIO(Path(REFERENCE).read_bytes()))
    found = facts_of(shape)
    hits = {
        name: [any(bool(solid.isInside(cq.Vector(*point))) for solid in shape.Solids()) for point in arguments[name]]
        for name in ("inside", "outside")
    }
    Path(FACTS).write_text(json.dumps({"candidate": found, "reference": found, **hits}))


def mesh(shape: Any) -> tuple[Any, Any]:
    """Vertices [V, 3] and triangles [T, 3] of a shape's surface, to a thousandth of its size."""
    box = shape.BoundingBox()
    corners, triangles = shape.tessellate(box.DiagonalLength / 1000, 0.2)
    return np.array([corner.toTuple() for corner in corners]), np.array(triangles)


def facts_of(shape: Any) -> dict[str, Any]:
    """What is measured of a shape, in mm, mm2 and mm3; its box and centre only if it has a volume."""
    solids = shape.Solids()
    edges = [edge for edge in shape.Edges() if not BRep_Tool.Degenerated_s(edge.wrapped)]
    facts: dict[str, Any] = {
        "solids": len(solids),
        "faces": len(shape.Faces()),
        "edges": len(edges),
        "valid": bool(BRepCheck_Analyzer(shape.wrapped).IsValid()),
        "closed": all(BRep_Tool.IsClosed_s(shell.wrapped) for shell in shape.Shells()),
        "volume": float(sum(solid.Volume() for solid in solids)),
        "area": float(shape.Area()),
        "smallest_edge": min((float(edge.Length()) for edge in edges), default=None),
    }
    if solids and facts["volume"] > 0:
        facts["box"] = _box(shape)
        facts["centre"] = list(cq.Shape.centerOfMass(shape).toTuple())
    return facts


def _box(shape: Any) -> list[float]:
    box = shape.BoundingBox()
    return [box.xmin, box.xmax, box.ymin, box.ymax, box.zmin, box.zmax]


def compare(candidate: Any, reference: Any, found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any] | None:
    """How far two measured shapes overlap, by Boolean operations; None if their results do not add up."""
    both = TopTools_ListOfShape()
    for shape in (candidate, reference):
        both.Append(shape.wrapped)
    # Cut both along each other's surfaces, once. A piece that is then one and the same in both is what they share.
    cutter = BOPAlgo_Builder()
    cutter.SetArguments(both)
    cutter.SetRunParallel(False)
    cutter.Perform()
    ours, theirs = (_parts(cutter, shape) for shape in (candidate, reference))
    common = sum(float(piece.Volume()) for piece in ours if _is_among(piece, theirs))
    surplus = _pieces([piece for piece in ours if not _is_among(piece, theirs)])
    missing = _pieces([piece for piece in theirs if not _is_among(piece, ours)])
    tolerance = _TOLERANCE * float(wanted["volume"])
    for whole, rest in ((found["volume"], surplus), (wanted["volume"], missing)):
        if abs(common + sum(piece["volume"] for piece in rest) - whole) > tolerance:
            return None
    union = found["volume"] + wanted["volume"] - common
    return {"iou": common / union, "missing": missing, "surplus": surplus}


def _parts(cutter: BOPAlgo_Builder, shape: Any) -> list[Any]:
    """Into what the shape's solids were cut; one that was not cut is its own only part."""
    return [
        part
        for solid in shape.Solids()
        for part in ([cq.Shape.cast(cut) for cut in cutter.Modified(solid.wrapped)] or [solid])
    ]


def _is_among(piece: Any, others: Sequence[Any]) -> bool:
    return any(piece.isSame(other) for other in others)


def _pieces(solids: Sequence[Any]) -> Sequence[dict[str, Any]]:
    """Volume of each solid, the largest first, and the box of those that are told, since it takes long to find.

    Those of one size come in the order of their places: the kernel's own order is not the same in every process.
    """
    measured = sorted((item for item in map(_measure, solids) if item[1] > 0), key=lambda item: item[0])
    return [
        {"volume": volume, **({"box": _box(solid)} if index < TOLD_PIECES else {})}
        for index, (_, volume, solid) in enumerate(measured)
    ]


def _measure(solid: Any) -> tuple[tuple[float, ...], float, Any]:
    """A key to sort by, the volume, and the solid."""
    properties = GProp_GProps()
    BRepGProp.VolumeProperties_s(solid.wrapped, properties)
    volume, centre = float(properties.Mass()), properties.CentreOfMass()
    places = (round(coordinate, 4) + 0.0 for coordinate in (centre.X(), centre.Y(), centre.Z()))
    return (-float(f"{volume:.5g}"), *places), volume, solid
