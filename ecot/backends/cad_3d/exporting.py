"""Runs inside a fork server, in a process without any code of a candidate's: write a solid in other formats."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import cadquery as cq

from ecot.backends.cad_3d.exchange import PICTURE, SOLID, STEP, STL
from ecot.backends.cad_3d.measuring import mesh
from ecot.backends.cad_3d.picture import draw

_STEP_TIME = re.compile(rb"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d'")


def export(arguments: dict[str, Any]) -> None:
    """Turn `SOLID` into `STEP`, `STL` and `PICTURE`; equal solids give equal files."""
    shape = cq.Shape.importBrep(BytesIO(Path(SOLID).read_bytes()))
    shape.exportStep(STEP)
    step = Path(STEP).read_bytes()
    Path(STEP).write_bytes(_STEP_TIME.sub(b"'1970-01-01T00:00:00'", step, count=1))
    shape.exportStl(STL, tolerance=shape.BoundingBox().DiagonalLength / 1000, angularTolerance=0.2)
    vertices, triangles = mesh(shape)
    Path(PICTURE).write_bytes(draw(vertices, triangles))
