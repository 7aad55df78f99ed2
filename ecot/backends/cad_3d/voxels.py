"""Compare solids on a grid of points: coarser than the kernel's Boolean operations, but it always gives an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_OFFSET = (0.3819660113, 0.2763932023, 0.4142135624)
"""Places the grid where no edge of a part drawn in round numbers passes through a point. In parts of a cell."""


def overlap(
    meshes: Sequence[tuple[NDArray[np.float64], NDArray[np.int64]]], cells: int
) -> tuple[float, tuple[float, float]]:
    """Intersection over union of two closed meshes, and the volume of each.

    Args:
        meshes: two of (vertices [V, 3], triangles [T, 3]).
        cells: along the longest side of the box around both.
    """
    corners = np.concatenate([vertices for vertices, _ in meshes])
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = float((high - low).max()) / cells
    shape = np.ceil((high - low) / size).astype(int) + 1
    origin = low - np.array(_OFFSET) * size
    first, second = (_inside(vertices, triangles, origin, size, shape) for vertices, triangles in meshes)
    union = int((first | second).sum())
    ratio = float((first & second).sum()) / union if union else 0.0
    return ratio, (float(first.sum()) * size**3, float(second.sum()) * size**3)


def _inside(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    origin: NDArray[np.float64],
    size: float,
    shape: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which grid points lie inside, [X, Y, Z]: a vertical ray changes sides at every triangle that it passes."""
    crossings = np.zeros((shape[0], shape[1], shape[2] + 1), dtype=np.int32)
    scaled = (vertices - origin) / size
    for corners in scaled[triangles]:
        (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = corners
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        xs = np.arange(int(np.ceil(min(x0, x1, x2))), int(np.floor(max(x0, x1, x2))) + 1)
        ys = np.arange(int(np.ceil(min(y0, y1, y2))), int(np.floor(max(y0, y1, y2))) + 1)
        if not (xs.size and ys.size):
            continue
        grid_x, grid_y = np.meshgrid(xs, ys, indexing="ij")
        second = ((grid_x - x0) * (y2 - y0) - (x2 - x0) * (grid_y - y0)) / area
        third = ((x1 - x0) * (grid_y - y0) - (grid_x - x0) * (y1 - y0)) / area
        hit = (second >= 0) & (third >= 0) & (second + third <= 1)
        height = z0 + second[hit] * (z1 - z0) + third[hit] * (z2 - z0)
        above = np.clip(np.ceil(height).astype(int), 0, int(shape[2]))
        np.add.at(crossings, (grid_x[hit], grid_y[hit], above), 1)
    return (np.cumsum(crossings, axis=2)[:, :, :-1] % 2).astype(bool)
