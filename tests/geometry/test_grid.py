"""Derived grids: a voxel that moves into a derived grid stays where it is in the world."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.geometry import Grid, PadCrop, pad_crop, reorient, resampled
from hirescam_cli.geometry import affine as affines
from tests.geometry.worlds import ORIENTATIONS, affine_of, rotated


def marked(shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """Each voxel holds a number of its own."""
    return np.arange(np.prod(shape)).reshape(shape)


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0.0, 17.0])
def test_reorienting_keeps_every_voxel_in_its_place(codes: str, degrees: float) -> None:
    shape = (3, 4, 5)
    affine = rotated(affine_of(codes, (0.7, 1.1, 2.5), (5, -6, 7)), (1, 1, 3), degrees)
    array = marked(shape)
    order, grid = reorient(Grid(shape, affine), "IPL")
    moved = order.apply(array)
    assert moved.shape == grid.shape
    assert affines.orientation(grid.affine_ras) == "IPL"
    assert np.shares_memory(moved, array)
    old = {value: affines.apply(affine, index) for index, value in np.ndenumerate(array)}
    for index, value in np.ndenumerate(moved):
        np.testing.assert_allclose(affines.apply(grid.affine_ras, index), old[value], atol=1e-9)


def test_reorienting_by_hand() -> None:
    """LPS to IPL: slices come first and from the top, rows stay, columns stay (they run to the left)."""
    array = marked((2, 3, 4))
    order, grid = reorient(Grid((2, 3, 4), affine_of("LPS", (1, 2, 5), (50, 60, 70))), "IPL")
    np.testing.assert_array_equal(order.apply(array), array[:, :, ::-1].transpose(2, 1, 0))
    assert grid.affine_ras.tolist() == [[0, 0, -1, 50], [0, -2, 0, 60], [-5, 0, 0, 85], [0, 0, 0, 1]]


def test_resampling_keeps_the_first_centre_and_rounds_the_size() -> None:
    grid = Grid((10, 3, 401), affine_of("IPL", (2.5, 0.2, 0.8), (1, 2, 3)))
    child = resampled(grid, (0.8, 0.8, 0.8))
    assert child.shape == (31, 1, 401)  # 31.25, 0.75 and 401
    assert child.spacing_mm == pytest.approx((0.8, 0.8, 0.8))
    np.testing.assert_array_equal(child.affine_ras[:3, 3], grid.affine_ras[:3, 3])
    assert resampled(Grid((1, 1, 1), affine_of("IPL", (0.1, 0.1, 0.1))), (0.8, 0.8, 0.8)).shape == (1, 1, 1)


def naive(values: NDArray[np.int64], target: int) -> NDArray[np.int64]:
    """The authors' order on one axis: pad (before = floor(n / 2)), then crop about the centre (the same)."""
    missing = max(0, target - len(values))
    padded = np.pad(values, (missing // 2, missing - missing // 2), constant_values=-1)
    surplus = len(padded) - target
    return padded[surplus // 2 : surplus // 2 + target]


@pytest.mark.parametrize("target", [1, 2, 5, 6])
@pytest.mark.parametrize("size", range(1, 13))
def test_padding_and_cropping_is_that_of_the_authors(size: int, target: int) -> None:
    axis = PadCrop(size, target)
    expected = naive(np.arange(size), target)
    found = np.full(target, -1)
    found[axis.start : axis.stop] = np.arange(axis.start, axis.stop) + axis.shift
    assert found.tolist() == expected.tolist()


def test_the_padded_grid_keeps_voxels_in_their_place() -> None:
    grid = Grid((5, 9, 7), affine_of("IPL", (0.8, 0.7, 0.6), (9, 8, 7)))
    axes, child = pad_crop(grid, (8, 4, 7))
    assert [(a.shift, a.start, a.stop) for a in axes] == [(-1, 1, 6), (2, 0, 4), (0, 0, 7)]
    assert child.shape == (8, 4, 7)
    here = affines.apply(child.affine_ras, (1, 0, 3))
    np.testing.assert_allclose(here, affines.apply(grid.affine_ras, (0, 2, 3)))


@pytest.mark.parametrize(("shape", "size"), [((2, 3), 4), ((0, 3, 3), 4), ((3, 3, 3), 3)])
def test_impossible_grids_are_refused(shape: tuple[int, ...], size: int) -> None:
    with pytest.raises(ValueError):
        Grid(shape, np.eye(size))  # type: ignore[arg-type]
