"""Draw a mesh without a display: a depth buffer in numpy, and a PNG writer."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_VIEW = np.array([1.0, -1.2, 0.8])
"""From where the part is seen: in front of it, to the right, above."""
_LIGHT = np.array([0.35, -0.8, 0.9])
_COLOUR = np.array([112.0, 150.0, 190.0])
_BACKGROUND = 255
_MARGIN = 0.06


def draw(vertices: NDArray[np.float64], triangles: NDArray[np.int64], size: int = 480) -> bytes:
    """A shaded parallel projection as a PNG of `size` times `size` pixels.

    Args:
        vertices: [V, 3].
        triangles: [T, 3], seen from outside counter-clockwise.
        size: pixels per side.
    """
    corners = vertices[triangles]  # [T, 3, 3]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    corners, normals = corners[lengths > 0], normals[lengths > 0] / lengths[lengths > 0, None]
    shade = 0.35 + 0.65 * np.clip(normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    flat = _project(corners, size)
    # Two samples per pixel and direction smooth the outlines.
    image = np.full((2 * size, 2 * size), np.nan)
    depth = np.full((2 * size, 2 * size), -np.inf)
    for points, brightness in zip(flat, shade, strict=True):
        _fill(image, depth, points, float(brightness))
    colours = np.where(np.isnan(image)[..., None], _BACKGROUND, image[..., None] * _COLOUR)
    pixels = colours.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))
    return _png(pixels.round().astype(np.uint8))


def _project(corners: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Corners as (row, column, nearness), [T, 3, 3]; the first two in samples, two per pixel."""
    toward = _VIEW / np.linalg.norm(_VIEW)
    right = np.cross([0.0, 0.0, 1.0], toward)
    right /= np.linalg.norm(right)
    up = np.cross(toward, right)
    seen = corners @ np.stack([-up, right, toward], axis=1)
    low, high = seen.reshape(-1, 3).min(axis=0)[:2], seen.reshape(-1, 3).max(axis=0)[:2]
    samples = 2 * size
    scale = samples * (1 - 2 * _MARGIN) / max(float((high - low).max()), 1e-9)
    seen[..., :2] = (seen[..., :2] - (low + high) / 2) * scale + samples / 2
    return seen


def _fill(
    image: NDArray[np.float64], depth: NDArray[np.float64], points: NDArray[np.float64], brightness: float
) -> None:
    """Paint one triangle where it is nearer than what is there."""
    (y0, x0, z0), (y1, x1, z1), (y2, x2, z2) = points
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if area == 0.0:
        return
    top, bottom = int(np.ceil(min(y0, y1, y2))), int(np.floor(max(y0, y1, y2))) + 1
    left, right = int(np.ceil(min(x0, x1, x2))), int(np.floor(max(x0, x1, x2))) + 1
    rows, columns = np.arange(top, bottom)[:, None], np.arange(left, right)[None, :]
    second = ((columns - x0) * (y2 - y0) - (x2 - x0) * (rows - y0)) / area
    third = ((x1 - x0) * (rows - y0) - (columns - x0) * (y1 - y0)) / area
    nearness = z0 + second * (z1 - z0) + third * (z2 - z0)
    window = (slice(top, bottom), slice(left, right))
    visible = (second >= 0) & (third >= 0) & (second + third <= 1) & (nearness > depth[window])
    depth[window][visible] = nearness[visible]
    image[window][visible] = brightness


def _png(pixels: NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack("!I", len(content)) + kind + content + struct.pack("!I", zlib.crc32(kind + content))

    header = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
