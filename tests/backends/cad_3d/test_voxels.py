"""The comparison on a grid, against volumes that are known."""

import math

import numpy as np
import pytest

from ecot.backends.cad_3d.voxels import overlap

QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def box(sides, corner=(0.0, 0.0, 0.0)):
    """A closed mesh; which way its triangles turn does not matter here."""
    units = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    triangles = [part for a, b, c, d in QUADS for part in ((a, b, c), (a, c, d))]
    return units * np.array(sides, dtype=float) + np.array(corner), np.array(triangles)


def ball(radius, around=48):
    """A ball of flat pieces."""
    angles, heights = np.linspace(0, 2 * math.pi, around, endpoint=False), np.linspace(0, math.pi, around // 2 + 1)
    points = [
        (radius * math.sin(v) * math.cos(u), radius * math.sin(v) * math.sin(u), radius * math.cos(v))
        for v in heights
        for u in angles
    ]
    triangles = []
    for row in range(around // 2):
        for column in range(around):
            a, b = row * around + column, row * around + (column + 1) % around
            triangles += [(a, b, a + around), (b, b + around, a + around)]
    return np.array(points), np.array(triangles)


def test_equal_solids_overlap_fully():
    ratio, volumes = overlap([box((20, 10, 10)), box((20, 10, 10))], 96)
    assert ratio == 1.0
    assert volumes == pytest.approx((2000, 2000), rel=0.02)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (box((20, 10, 5)), 1 / 2),
        (box((20, 10, 10), (10, 0, 0)), 1 / 3),
        (box((20, 10, 10), (20.5, 0, 0)), 0.0),
        (box((5, 5, 5), (3, 3, 3)), 1 / 16),
    ],
)
def test_partial_overlap(other, expected):
    assert overlap([box((20, 10, 10)), other], 120)[0] == pytest.approx(expected, abs=0.01)


def test_a_cavity_counts_as_outside():
    outer, inner = box((10, 10, 10)), box((6, 6, 6), (2, 2, 2))
    hollow = (np.concatenate([outer[0], inner[0]]), np.concatenate([outer[1], inner[1] + len(outer[0])]))
    ratio, (whole, shell) = overlap([outer, hollow], 100)
    assert ratio == pytest.approx(1 - 0.216, abs=0.01)
    assert (whole, shell) == (pytest.approx(1000, rel=0.02), pytest.approx(784, rel=0.02))


def test_round_surfaces():
    ratio, (large, small) = overlap([ball(10.0), ball(8.0)], 100)
    assert large == pytest.approx(4 / 3 * math.pi * 1000, rel=0.03)
    assert ratio == pytest.approx(0.512, abs=0.01) and small == pytest.approx(0.512 * large, rel=0.02)
