"""The picture shows the part, nearest surfaces in front, and is a PNG that others can read."""

import io

import matplotlib.image
import numpy as np

from ecot.backends.cad_3d.picture import draw


def plate(z, half):
    """Two triangles that face upwards."""
    corners = [(-half, -half, z), (half, -half, z), (half, half, z), (-half, half, z)]
    return np.array(corners, dtype=float), np.array([(0, 1, 2), (0, 2, 3)])


def stack(*parts):
    vertices, triangles, offset = [], [], 0
    for points, faces in parts:
        vertices.append(points)
        triangles.append(faces + offset)
        offset += len(points)
    return np.concatenate(vertices), np.concatenate(triangles)


def pixels(content):
    return matplotlib.image.imread(io.BytesIO(content), format="png")


def test_a_plate_fills_its_outline_and_no_more():
    image = pixels(draw(*plate(0.0, 1.0), size=120))
    assert image.shape[:2] == (120, 120)
    painted = (image[..., :3] < 0.99).any(axis=2)
    assert (image[0, 0, :3] == 1).all() and painted[60, 60]
    # A square seen from above at an angle: as wide as the picture allows, and foreshortened.
    assert 0.8 * 120 < painted.any(axis=0).sum() <= 0.9 * 120
    assert 0.2 * 120 < painted.any(axis=1).sum() < 0.6 * 120


def test_what_is_nearer_hides_what_is_behind():
    above = plate(1.0, 1.0)
    below = (np.array([(-1, -1, 0), (1, 1, 0), (1, -1, 0), (-1, 1, 0)], dtype=float), np.array([(0, 1, 2), (0, 3, 1)]))
    both, only = draw(*stack(below, above), size=80), draw(*stack(above, below), size=80)
    assert both == only  # the order of drawing does not matter
    centre = pixels(both)[28, 40, :3]
    assert (abs(centre - pixels(draw(*above, size=80))[40, 40, :3]) < 0.02).all()


def test_the_same_mesh_gives_the_same_bytes():
    assert draw(*plate(0.0, 1.0), size=64) == draw(*plate(0.0, 1.0), size=64)
