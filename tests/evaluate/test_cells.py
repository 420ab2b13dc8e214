"""How much of a cell a mask fills, and how far it is: hand-worked, against brute force, and on other grids."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from hirescam_cli.evaluate.cells import MaskOnCells, box_share, overlap, share_inside
from hirescam_cli.geometry import Grid
from hirescam_cli.geometry import affine as affines

CELLS = Grid((4, 3, 5), affines.from_parts(np.diag([12.0, -20.0, 8.0]), [5.0, -7.0, 30.0]))


def fine(divisions: tuple[int, int, int], cells: Grid = CELLS) -> Grid:
    """The grid that cuts each cell of `cells` into so many voxels."""
    n = np.asarray(divisions)
    child = affines.scaling(1.0 / n, (1.0 / n - 1.0) / 2.0)
    return cells.child(child, np.asarray(cells.shape) * n)


def turned(grid: Grid, degrees: tuple[float, float, float]) -> Grid:
    """A grid turned about its middle."""
    a, b, c = np.deg2rad(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    middle = affines.apply(grid.affine_ras, (np.asarray(grid.shape) - 1) / 2)
    turn = affines.from_parts(x @ y @ z, middle - x @ y @ z @ middle)
    return Grid(grid.shape, turn @ grid.affine_ras)


def blob(grid: Grid, centre_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    index = np.argwhere(np.ones(grid.shape, dtype=bool))
    away = affines.apply(grid.affine_ras, index) - centre_mm
    return ((away**2).sum(axis=1) <= radius_mm**2).reshape(grid.shape)


def test_overlap_by_hand() -> None:
    # Voxels of 0.4 cells, the first centred on 0: it lies in cell 0; the second from 0.2 to 0.6, a quarter beyond.
    weights = overlap(2, 3, 0.4, 0.0)
    assert np.allclose(weights, [[0.4, 0.3, 0.0], [0.0, 0.1, 0.4]])
    assert np.allclose(overlap(2, 3, -0.4, 0.8), weights[:, ::-1])


def test_a_mask_of_whole_cells_fills_them_and_no_other() -> None:
    grid = fine((4, 5, 2))
    chosen = np.zeros(CELLS.shape, dtype=bool)
    chosen[1:3, 0, 2] = chosen[3, 2, 4] = True
    mask = np.repeat(np.repeat(np.repeat(chosen, 4, 0), 5, 1), 2, 2)
    found = MaskOnCells(mask, grid.affine_ras, CELLS)
    assert np.allclose(found.share, chosen, atol=1e-12)
    assert np.array_equal(found.touched, chosen)
    assert found.volume_mm3 == pytest.approx(3 * 12 * 20 * 8)


def test_every_order_of_axes_and_a_finer_grid_give_the_same_shares() -> None:
    grid = fine((4, 5, 2))
    mask = np.random.default_rng(0).random(grid.shape) < 0.2
    expected = mask.reshape(4, 4, 3, 5, 5, 2).mean(axis=(1, 3, 5))
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            turn = np.zeros((4, 4))
            turn[3, 3] = 1.0
            for new, old in enumerate(order):
                turn[old, new] = signs[new]
                turn[old, 3] = 0 if signs[new] > 0 else grid.shape[old] - 1
            stored = np.transpose(mask, order)[tuple(slice(None, None, s) for s in signs)]
            found = MaskOnCells(stored, grid.affine_ras @ turn, CELLS)
            assert np.allclose(found.share, expected, atol=1e-6)
    finer = np.repeat(np.repeat(np.repeat(mask, 3, 0), 2, 1), 2, 2)
    assert np.allclose(MaskOnCells(finer, fine((12, 10, 4)).affine_ras, CELLS).share, expected, atol=1e-6)


def test_voxels_larger_than_cells_are_shared_among_them() -> None:
    coarse = Grid((2, 1, 1), affines.from_parts(np.diag([24.0, 60.0, 40.0]), [11.0, -27.0, 46.0]))
    mask = np.zeros(coarse.shape, dtype=bool)
    mask[1, 0, 0] = True
    share = MaskOnCells(mask, coarse.affine_ras, CELLS).share
    assert np.allclose(share[2:], 1.0)
    assert np.allclose(share[:2], 0.0)


def test_oblique_masks_keep_their_volume_and_agree_with_a_fine_sampling() -> None:
    grid = turned(fine((6, 10, 4)), (9.0, -14.0, 21.0))
    centre = affines.apply(CELLS.affine_ras, [1.6, 0.8, 2.3])
    mask = blob(grid, centre, 11.0)
    found = MaskOnCells(mask, grid.affine_ras, CELLS)
    assert found.axes is None
    cell_mm3 = 12 * 20 * 8
    assert found.share.sum() * cell_mm3 == pytest.approx(found.volume_mm3, rel=1e-9)
    reference = fine((24, 40, 16))
    index = np.argwhere(np.ones(reference.shape, dtype=bool))
    at = np.rint(affines.apply(np.linalg.inv(grid.affine_ras) @ reference.affine_ras, index)).astype(int)
    inside = ((at >= 0) & (at < grid.shape)).all(axis=1)
    inside[inside] = mask[tuple(at[inside].T)]
    expected = inside.reshape(4, 24, 3, 40, 5, 16).mean(axis=(1, 3, 5))
    assert np.abs(found.share - expected).max() < 0.01


@pytest.mark.parametrize("divisions", [(4, 5, 4), (4, 10, 4), (1, 2, 1), (9, 7, 5)])
def test_voxels_across_the_edges_of_cells_are_shared_between_them(divisions: tuple[int, int, int]) -> None:
    """Against 30 x 30 x 30 points in each voxel; voxels of a quarter of a cell counted whole would be far off."""
    grid = turned(fine(divisions), (3.0, -4.0, 6.0))
    mask = blob(grid, affines.apply(CELLS.affine_ras, [1.5, 0.9, 2.45]), 9.0)
    assert mask.sum() >= 3
    offsets = (np.arange(30) + 0.5) / 30 - 0.5
    sub = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    to_cell = np.linalg.inv(CELLS.affine_ras) @ grid.affine_ras
    expected = np.zeros(CELLS.shape)
    for voxel in np.argwhere(mask):
        index = np.rint(affines.apply(to_cell, voxel + sub)).astype(int)
        index = index[((index >= 0) & (index < CELLS.shape)).all(axis=1)]
        np.add.at(expected, tuple(index.T), abs(np.linalg.det(to_cell[:3, :3])) / len(sub))
    found = MaskOnCells(mask, grid.affine_ras, CELLS)
    assert found.axes is None
    assert found.share.max() == pytest.approx(expected.max(), rel=0.01)
    assert np.abs(found.share - expected).max() < 0.01
    # A cell into which a mask reaches by more than slivers is touched.
    assert found.touched[expected > 0.002].all()


@pytest.mark.parametrize("degrees", [(0.0, 0.0, 0.0), (9.0, -14.0, 21.0)])
def test_distances_are_those_of_brute_force(degrees: tuple[float, float, float]) -> None:
    grid = turned(fine((4, 5, 2)), degrees)
    rng = np.random.default_rng(3)
    mask = blob(grid, affines.apply(CELLS.affine_ras, [1.0, 1.0, 3.0]), 9.0) | (
        rng.random(grid.shape) < 0.002
    )
    found = MaskOnCells(mask, grid.affine_ras, CELLS)
    points = affines.apply(grid.affine_ras, np.argwhere(mask))
    for cell in np.ndindex(*CELLS.shape):
        centre = affines.apply(CELLS.affine_ras, cell)
        index = np.rint(affines.apply(np.linalg.inv(grid.affine_ras), centre)).astype(int)
        within = bool(((index >= 0) & (index < grid.shape)).all()) and bool(mask[tuple(index)])
        expected = 0.0 if within else np.linalg.norm(points - centre, axis=1).min()
        assert found.distances_mm[cell] == pytest.approx(expected, abs=1e-6)
        assert found.distance_mm(cell) == pytest.approx(expected, abs=1e-6)
        assert found.contains(centre) == within
    for tolerance in (0.0, 3.7, 11.3, 40.0, 1000.0):
        np.testing.assert_array_equal(found.near(tolerance), found.distances_mm <= tolerance)


def test_the_gap_is_from_the_cells_box() -> None:
    grid = fine((12, 20, 8))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[30, 10, 4] = True
    found = MaskOnCells(mask, grid.affine_ras, CELLS)
    assert found.gap_mm((2, 0, 0)) == 0.0
    # Along x the voxel's centre is 6.5 mm into cell 2, whose neighbour ends at its edge.
    assert found.gap_mm((1, 0, 0)) == pytest.approx(6.5)
    # In cell (1, 1, 1) it is also 9.5 mm off in y and 3.5 mm in z.
    assert found.gap_mm((1, 1, 1)) == pytest.approx(np.sqrt(6.5**2 + 9.5**2 + 3.5**2))


def test_an_empty_mask_fills_nothing_and_is_near_nothing() -> None:
    found = MaskOnCells(np.zeros((3, 3, 3), dtype=bool), np.eye(4), CELLS)
    assert not found.share.any()
    with pytest.raises(ValueError, match="empty"):
        _ = found.distances_mm
    with pytest.raises(ValueError, match="empty"):
        found.near(1.0)


def test_the_share_of_cells_in_the_scan() -> None:
    # A scan that ends in the middle of the second cell along x, and one that is turned.
    scan = Grid((6, 60, 40), affines.from_parts(np.diag([3.0, -1.0, 1.0]), [0.5, 2.5, 26.5]))
    share = box_share(scan, CELLS)
    assert np.allclose(share[0], 1.0)
    assert np.allclose(share[1], 0.5)
    assert np.allclose(share[2:], 0.0)
    oblique = box_share(turned(scan, (0.0, 0.0, 5.0)), CELLS)
    assert oblique.sum() == pytest.approx(share.sum(), rel=0.1)
    assert oblique.min() >= 0.0
    assert oblique.max() <= 1.0


def test_the_share_of_a_mask_in_the_view() -> None:
    grid = Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[:, 4, 4] = True
    view = Grid((3, 20, 20), np.diag([2.0, 1.0, 1.0, 1.0]))
    assert share_inside(mask, grid.affine_ras, view) == pytest.approx(0.3)
    assert share_inside(mask & False, grid.affine_ras, view) == 0.0
