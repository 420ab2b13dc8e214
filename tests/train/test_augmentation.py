"""Augmentation: drawn from seed, epoch and place; voxels, affine and cells change as one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.geometry import affine as affines
from hirescam_cli.masks.mask import Mask
from hirescam_cli.model.contract import stretched
from hirescam_cli.train.augmentation import Augmentation, Change, order
from hirescam_cli.train.cells import CellGrid, allowed_cells, at_corners, shares

CHANGES = [Change(flip, turns) for flip in (None, 0, 1, 2) for turns in range(4)]


@pytest.mark.parametrize("change", CHANGES)
def test_the_affine_of_a_change_says_where_each_voxel_came_from(change: Change) -> None:
    array = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    changed = change.of(array)
    index = np.stack(np.indices(changed.shape), axis=-1).reshape(-1, 3)
    source = np.rint(affines.apply(change.affine((3, 4, 5)), index)).astype(int)
    np.testing.assert_array_equal(changed.ravel(), array[tuple(source.T)])


def mask_on(array: np.ndarray, affine: np.ndarray) -> Mask:
    return Mask("m", array, affine, Path("m"), "")


@pytest.mark.parametrize("how", ["any", "half"])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_cells_are_the_cells_of_the_changed_mask(change: Change, how: str) -> None:
    """Stretched cells: changing the few cells equals changing the full-size mask and shrinking it."""
    shape, cells = (12, 20, 20), (4, 5, 5)
    rng = np.random.default_rng(5)
    array = rng.random((3, 5, 5)).repeat(4, 0).repeat(4, 1).repeat(4, 2) + 0.3 * rng.random(shape) > 0.7
    grid = CellGrid(cells, stretched(cells, shape))
    input_ras = affines.scaling((2.0, 1.0, 1.5), (3.0, -7.0, 1.0))
    before = allowed_cells(mask_on(array, input_ras), grid, input_ras, how)
    assert 0.1 < before.mean() < 0.9
    full_size = allowed_cells(mask_on(change.of(array).copy(), input_ras), grid, input_ras, how)
    np.testing.assert_array_equal(change.of(before), full_size)
    # And the same from the mask as it is, with the affine of the changed input.
    moved = allowed_cells(mask_on(array, input_ras), grid, input_ras @ change.affine(shape), how)
    np.testing.assert_array_equal(moved, full_size)


@pytest.mark.parametrize("change", CHANGES)
def test_corners_do_not_change_with_the_cells_but_with_the_affine(change: Change) -> None:
    shape, cells = (12, 20, 20), (4, 5, 5)
    array = np.random.default_rng(7).random(shape) > 0.5
    grid = CellGrid(cells, stretched(cells, shape))
    full_size = at_corners(mask_on(change.of(array).copy(), np.eye(4)), grid, np.eye(4))
    np.testing.assert_array_equal(full_size, change.of(array)[::3, ::4, ::4])
    np.testing.assert_array_equal(
        at_corners(mask_on(array, np.eye(4)), grid, change.affine(shape)), full_size
    )


def test_shares_by_hand_and_on_another_grid() -> None:
    grid = CellGrid((2, 2, 2), stretched((2, 2, 2), (4, 4, 4)))
    array = np.zeros((4, 4, 4), dtype=np.bool_)
    array[0:3, 0:2, 0:1] = True  # 4 of the 8 voxels of the first cell, 2 of the one after it
    expected = np.zeros((2, 2, 2))
    expected[0, 0, 0], expected[1, 0, 0] = 0.5, 0.25
    np.testing.assert_allclose(shares(mask_on(array, np.eye(4)), grid, np.eye(4)), expected, atol=1e-12)
    half = allowed_cells(mask_on(array, np.eye(4)), grid, np.eye(4), "half")
    assert half.sum() == 1
    assert half[0, 0, 0]
    # The same mask twice as fine, mirrored and its axes in another order, is the same mask.
    fine = array.repeat(2, 0).repeat(2, 1).repeat(2, 2)[::-1].transpose(2, 0, 1)
    affine = np.zeros((4, 4))
    affine[0, 1], affine[1, 2], affine[2, 0], affine[3, 3] = -0.5, 0.5, 0.5, 1.0
    affine[:3, 3] = [-0.25 + 3.5, -0.25, -0.25]
    np.testing.assert_allclose(shares(mask_on(fine, affine), grid, np.eye(4)), expected, atol=1e-12)


def test_a_mask_of_thick_slices_leaves_no_cells_out() -> None:
    """Slices of 5 mm over cells of 2 mm: each cell within the slab is full, and volume is kept."""
    grid = CellGrid((20, 2, 2), stretched((20, 2, 2), (20, 4, 4)))
    input_ras = affines.scaling((2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    array = np.zeros((8, 4, 4), dtype=np.bool_)
    array[2:6] = True
    mask = mask_on(array, affines.scaling((5.0, 1.0, 1.0), (1.5, 0.0, 0.0)))
    found = shares(mask, grid, input_ras)
    # From 9 to 29 mm; cells from 2 n - 1 to 2 n + 1.
    np.testing.assert_allclose(found[5:15], 1.0, atol=1e-12)
    assert found[:5].max() == found[15:].max() == 0.0


def test_the_papers_draws() -> None:
    augmentation = Augmentation("papers", "IPL", seed=3)
    draws = [augmentation.draw(e, p, (9, 8, 8)) for e in range(60) for p in range(60)]
    flips, turns = Counter(d.flip for d in draws), Counter(d.turns for d in draws)
    assert flips[None] / 3600 == pytest.approx(1 / 2, abs=0.03)
    assert all(flips[axis] / 3600 == pytest.approx(1 / 6, abs=0.03) for axis in range(3))
    assert turns[0] / 3600 == pytest.approx(1 / 2, abs=0.03)
    assert all(turns[n] / 3600 == pytest.approx(1 / 6, abs=0.03) for n in (1, 2, 3))
    assert draws[:5] == [Augmentation("papers", "IPL", seed=3).draw(0, p, (9, 8, 8)) for p in range(5)]
    assert {d.turns for d in (augmentation.draw(0, p, (9, 8, 6)) for p in range(60))} == {0, 2}
    # An epoch does not repeat the one before.
    assert draws[:60] != draws[60:120]


def test_the_axial_plane_and_left_and_right_follow_the_models_axes() -> None:
    turned = [Augmentation("papers", "RAS", 0).draw(0, p, (8, 8, 9)) for p in range(20)]
    assert {d.plane for d in turned} == {(0, 1)}
    mirrored = [Augmentation("flip-lr", "SPL", 0).draw(0, p, (8, 8, 8)) for p in range(40)]
    assert {d.flip for d in mirrored} == {None, 2}
    assert {d.turns for d in mirrored} == {0}
    assert Augmentation("none", "RAS", 0).draw(0, 0, (8, 8, 8)) == Change()


def test_the_order_is_of_the_epoch() -> None:
    assert sorted(order(1, 2, 50)) == list(range(50))
    assert list(order(1, 2, 50)) == list(order(1, 2, 50))
    assert list(order(1, 2, 50)) != list(order(1, 3, 50))
