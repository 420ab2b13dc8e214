"""Affine algebra on numbers worked by hand."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from hirescam_cli.geometry import affine as affines
from tests.geometry.worlds import ORIENTATIONS, affine_of, rotated

# i runs to the left (2 mm), j to the head (3 mm), k to the front (0.5 mm); the first voxel at (10, 20, 30).
LSA = np.array([[-2, 0, 0, 10], [0, 0, 0.5, 20], [0, 3, 0, 30], [0, 0, 0, 1.0]])


def test_apply_maps_index_to_world() -> None:
    points = affines.apply(LSA, [[0, 0, 0], [1, 2, 4], [-1, 0.5, 0]])
    assert points.tolist() == [[10, 20, 30], [8, 22, 36], [12, 20, 31.5]]
    assert affines.apply(LSA, [1, 2, 4]).tolist() == [8, 22, 36]
    assert affines.apply(LSA, np.zeros((2, 5, 3))).shape == (2, 5, 3)


def test_parts_of_an_affine() -> None:
    assert affines.spacing_mm(LSA) == (2.0, 3.0, 0.5)
    assert affines.directions(LSA).tolist() == [[-1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert affines.orientation(LSA) == "LSA"
    assert affines.nearest_axes(LSA) == ((0, -1), (2, 1), (1, 1))
    np.testing.assert_array_equal(affines.from_parts(LSA[:3, :3], LSA[:3, 3]), LSA)


def test_scaling_maps_index_to_index() -> None:
    assert affines.apply(affines.scaling((3, 70, 70), (1, 34.5, 34.5)), [2, 1, 5]).tolist() == [
        7,
        104.5,
        384.5,
    ]


def test_lps_to_ras_turns_the_first_two_axes() -> None:
    assert affines.apply(affines.LPS_TO_RAS, [1, 2, 3]).tolist() == [-1, -2, 3]


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_orientation_of_all_48(codes: str) -> None:
    affine = affine_of(codes, (0.7, 0.8, 2.5), (5, -6, 7))
    assert affines.orientation(affine) == codes == "".join(nibabel.aff2axcodes(affine))
    for axis in ((1, 0, 0), (1, 2, -1)):
        assert affines.orientation(rotated(affine, axis, 20)) == codes


@pytest.mark.parametrize("degrees", [0.0, 5.0, 10.0, 44.0])
def test_obliquity_is_the_angle_of_the_turn(degrees: float) -> None:
    assert affines.obliquity_degrees(rotated(LSA, (0, 0, 1), degrees)) == pytest.approx(degrees, abs=1e-5)


def test_beyond_45_degrees_the_next_axis_is_nearer() -> None:
    turned = rotated(affine_of("RAS"), (0, 0, 1), 50)
    assert affines.orientation(turned) == "ALS"
    assert affines.obliquity_degrees(turned) == pytest.approx(40)


def test_each_world_axis_is_used_once() -> None:
    """Two index axes lie nearest to the same world axis here; the best assignment overall gives each its own."""
    linear = np.array([[0.8, 0.75, 0.0], [0.6, -0.66, 0.1], [0.0, 0.0, 1.0]])
    assert affines.nearest_axes(affines.from_parts(linear, (0, 0, 0))) == ((0, 1), (1, -1), (2, 1))


def test_shear_cosine() -> None:
    assert affines.shear_cosine(rotated(LSA, (1, 2, 3), 33)) == pytest.approx(0, abs=1e-12)
    tilted = affine_of("LPS", (1, 1, 2))
    tilted[1, 2] = 2 * np.tan(np.radians(14))  # gantry tilt of 14 degrees
    assert affines.shear_cosine(tilted) == pytest.approx(np.sin(np.radians(14)))


@pytest.mark.parametrize("column", [(0, 0, 0), (1, 0, 0), (np.nan, 0, 1)])
def test_singular_affines_are_refused(column: tuple[float, float, float]) -> None:
    singular = np.eye(4)
    singular[:3, 2] = column
    with pytest.raises(ValueError, match="singular"):
        affines.nearest_axes(singular)
