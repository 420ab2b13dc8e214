"""Interpolation against SimpleITK, SciPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy import ndimage

from hirescam_cli.geometry import Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import (
    aligned_axes,
    apply_along,
    apply_separable,
    band_blocks,
    bspline_matrix,
    linear_at,
    linear_matrix,
    resample_linear,
)
from tests.geometry.worlds import ORIENTATIONS, affine_of, rotated


def ct_like(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.int16]:
    """Random HU over the whole range, without any smoothness to help."""
    return np.random.default_rng(seed).integers(-1024, 3000, size=shape).astype(np.int16)


def simpleitk_bspline(
    array_zyx: NDArray[np.int16], old: tuple[float, ...], new: tuple[float, ...], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """SimpleITK's cubic B-spline on a grid of spacing `new` (z, y, x) with the same first voxel."""
    image = sitk.GetImageFromArray(array_zyx.astype(np.float32))
    image.SetSpacing(old[::-1])
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkBSpline)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    resampler.SetSize(shape[::-1])
    resampler.SetOutputSpacing(new[::-1])
    resampled = resampler.Execute(image)
    return sitk.GetArrayFromImage(resampled)


@pytest.mark.parametrize(
    ("shape", "old", "new"),
    [
        ((12, 20, 17), (2.5, 0.7, 0.7), (0.8, 0.8, 0.8)),
        ((30, 21, 24), (0.5, 0.6, 0.7), (0.8, 0.8, 0.8)),
        ((9, 40, 33), (5.0, 0.977, 0.977), (0.8, 0.8, 0.8)),
        ((70, 15, 5), (0.8, 1.3, 3.0), (0.8, 0.8, 0.8)),
        ((2, 3, 4), (1.0, 1.0, 1.0), (0.37, 0.37, 0.37)),
        ((5, 2, 3), (2.0, 2.0, 2.0), (0.9, 0.9, 0.9)),
    ],
)
def test_bspline_equals_simpleitk(
    shape: tuple[int, ...], old: tuple[float, ...], new: tuple[float, ...]
) -> None:
    array = ct_like(shape)
    # All output centres inside the input's centres: beyond those ITK answers 0 from its buffer's edge on.
    size = tuple(int((n - 1) * o / m + 1e-9) + 1 for n, o, m in zip(shape, old, new, strict=True))
    matrices = [
        bspline_matrix(n, np.arange(s) * m / o) for n, s, o, m in zip(shape, size, old, new, strict=True)
    ]
    found = apply_separable(array, matrices)
    assert np.abs(found - simpleitk_bspline(array, old, new, size)).max() < 0.05


@pytest.mark.parametrize("size", [2, 3, 4, 5, 17, 80])
def test_bspline_equals_scipy_with_a_mirror_even_beyond_the_ends(size: int) -> None:
    line = np.random.default_rng(size).normal(size=size) * 1000
    positions = np.concatenate([np.linspace(-0.5, size - 0.5, 41), np.arange(size)])
    # SciPy starts its prefilter's recursion from an approximation on short lines: give it the mirrored line.
    period = np.concatenate([line, line[-2:0:-1]])
    tiled = np.tile(period, 30 // len(period) * 2 + 3)
    offset = len(period) * ((len(tiled) // len(period)) // 2)
    expected = ndimage.map_coordinates(tiled, [positions + offset], order=3, mode="mirror")
    np.testing.assert_allclose(bspline_matrix(size, positions) @ line, expected, atol=1e-6)


def test_bspline_goes_through_the_samples_and_keeps_constants_and_lines() -> None:
    matrix = bspline_matrix(9, np.arange(9))
    np.testing.assert_allclose(matrix, np.eye(9), atol=1e-12)
    between = bspline_matrix(40, np.linspace(15, 25, 31))
    np.testing.assert_allclose(between.sum(axis=1), 1.0)
    np.testing.assert_allclose(between @ np.arange(40.0), np.linspace(15, 25, 31), atol=1e-7)
    assert bspline_matrix(1, [0.0, 0.4]).tolist() == [[1.0], [1.0]]


def test_linear_weights_by_hand() -> None:
    matrix = linear_matrix(3, [-0.6, -0.5, -0.2, 0.0, 0.25, 1.5, 2.0, 2.5, 2.51])
    assert matrix.tolist() == [
        [0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 0, 1], [0, 0, 0],
    ]  # fmt: skip
    assert linear_matrix(1, [-0.6, -0.5, 0.0, 0.5, 0.6]).tolist() == [[0], [1], [1], [1], [0]]


def test_linear_weights_equal_pytorchs_upsampling_without_aligned_corners() -> None:
    line = torch.from_numpy(np.random.default_rng(1).normal(size=6))
    expected = torch.nn.functional.interpolate(line[None, None], size=420, mode="linear", align_corners=False)
    positions = (np.arange(420) + 0.5) / 70 - 0.5
    np.testing.assert_allclose(linear_matrix(6, positions) @ line.numpy(), expected[0, 0].numpy(), atol=1e-12)


def test_linear_at_equals_scipy_inside_and_is_zero_outside() -> None:
    array = np.random.default_rng(2).normal(size=(4, 1, 6)).astype(np.float32)
    points = np.random.default_rng(3).uniform(-1.5, 6.5, size=(4000, 3))
    points[:, 1] = np.random.default_rng(4).uniform(-0.7, 0.7, size=4000)
    size = np.array(array.shape)
    inside = ((points >= -0.5) & (points <= size - 0.5)).all(axis=1)
    assert 200 < inside.sum() < 3800
    expected = ndimage.map_coordinates(array.astype(float), np.clip(points, 0, size - 1).T, order=1)
    found = linear_at(array, points)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-6)
    assert not found[~inside].any()


def test_linear_at_and_the_matrices_follow_one_rule() -> None:
    array = np.random.default_rng(5).normal(size=(3, 5, 4)).astype(np.float32)
    lines = [np.linspace(-1, n, 37) for n in array.shape]
    separable = apply_separable(
        array, [linear_matrix(n, line) for n, line in zip(array.shape, lines, strict=True)]
    )
    points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    np.testing.assert_allclose(linear_at(array, points), separable, atol=1e-6)


def independent(
    array: NDArray[np.float32], affine: NDArray[np.float64], world: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values at world points [n, 3]: clamped in the outer half cells, 0 outside the cells, by SciPy."""
    points = affines.apply(np.linalg.inv(affine), world)
    size = np.array(array.shape)
    inside = ((points >= -0.5 - 1e-6) & (points <= size - 0.5 + 1e-6)).all(axis=1)
    values = ndimage.map_coordinates(array.astype(float), np.clip(points, 0, size - 1).T, order=1)
    return np.where(inside, values, 0.0)


@pytest.mark.parametrize("degrees", [0.0, 1e-9, 0.01, 12.0])
@pytest.mark.parametrize("codes", ORIENTATIONS[::5])
def test_resampling_between_grids_equals_scipy_at_every_voxel(codes: str, degrees: float) -> None:
    array = np.random.default_rng(6).normal(size=(4, 6, 5)).astype(np.float32)
    source = affine_of("IPL", (7.0, 9.0, 8.0), (20, 25, 12))
    target = Grid((11, 9, 13), rotated(affine_of(codes, (4.1, 3.3, 5.2)), (1, -2, 1), degrees))
    centre = affines.apply(source, (1.5, 2.5, 2.0)) - affines.apply(target.affine_ras, (5, 4, 6))
    target.affine_ras[:3, 3] += centre
    found = resample_linear(array, source, target)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape), indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    expected = independent(array, source, affines.apply(target.affine_ras, index))
    assert np.abs(found.ravel() - expected).max() < 1e-5
    assert 0.02 < (found == 0).mean() < 0.9  # the target reaches beyond the map


def test_a_turn_too_small_to_see_takes_the_separable_path_and_a_visible_one_does_not() -> None:
    extent = (400, 400, 400)
    straight = affine_of("LPS", (0.8, 0.8, 2.0))
    assert aligned_axes(straight, extent) == (0, 1, 2)
    assert aligned_axes(affine_of("SLA"), extent) == (2, 0, 1)
    assert aligned_axes(rotated(straight, (0, 0, 1), 1e-8), extent) == (0, 1, 2)
    assert aligned_axes(rotated(straight, (0, 0, 1), 1e-3), extent) is None


def test_both_paths_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    from hirescam_cli.geometry import resample

    array = np.random.default_rng(8).normal(size=(5, 6, 6)).astype(np.float32)
    source = affine_of("IPL", (3.0, 70.0, 70.0), (100, 120, 0))
    # IPL cells span x from 135 down to -285, y from 155 to -265 and z from 1.5 to -13.5 mm.
    target = Grid((14, 12, 9), affine_of("RSA", (31.0, 2.7, 44.0), (-300, -270, -16)))
    separable = resample_linear(array, source, target)
    monkeypatch.setattr(resample, "aligned_axes", lambda *_: None)
    np.testing.assert_allclose(resample_linear(array, source, target), separable, atol=1e-5)
    assert np.count_nonzero(separable) > 100


@pytest.mark.parametrize("size", [3, 64, 65, 300])
@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.7])
def test_band_blocks_drop_nothing_that_matters(size: int, ratio: float) -> None:
    matrix = bspline_matrix(size, np.arange(0, size - 0.5, ratio))
    kept = np.zeros_like(matrix)
    seen = np.zeros(len(matrix), dtype=int)
    for rows, columns in band_blocks(matrix):
        kept[rows, columns] = matrix[rows, columns]
        seen[rows] += 1
    assert (seen == 1).all()
    # 3000 HU of the same sign in every dropped voxel move no value by a thousandth of a HU.
    assert np.abs(matrix - kept).sum(axis=1).max() * 3000 < 1e-3
    if size == 300:
        assert (
            sum((r.stop - r.start) * (c.stop - c.start) for r, c in band_blocks(matrix)) < 0.6 * matrix.size
        )


def test_band_blocks_skip_rows_of_zeros() -> None:
    matrix = linear_matrix(4, np.concatenate([np.full(100, -9.0), np.arange(4), np.full(100, 9.0)]))
    rows = np.concatenate([np.arange(rows.start, rows.stop) for rows, _ in band_blocks(matrix)])
    assert {100, 101, 102, 103} <= set(rows.tolist())
    assert len(rows) < 204
    out = apply_along(np.ones((2, 4, 3), dtype=np.float32), matrix, 1)
    assert out[:, 100:104].tolist() == np.ones((2, 4, 3)).tolist()
    assert out.sum() == 2 * 4 * 3
    assert band_blocks(np.zeros((5, 3))) == []


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_contraction_along_each_axis_is_a_matrix_product(axis: int) -> None:
    array = ct_like((70, 66, 67)).astype(np.float32)
    matrix = bspline_matrix(array.shape[axis], np.linspace(0, array.shape[axis] - 1, 90))
    expected = np.moveaxis(np.tensordot(matrix, array.astype(float), axes=(1, axis)), 0, axis)
    assert np.abs(apply_along(array, matrix, axis) - expected).max() < 0.01
