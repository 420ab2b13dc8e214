"""Planes in the patient's space: pixel grids in RAS mm, in radiological convention, and their values.

A plane is axis-aligned in the patient's space whatever the scan's own axes are, its pixels are square, and
only the plane is ever resampled, never the volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import aligned_axes, resample_linear
from hirescam_cli.geometry.types import Voxels

PlaneName = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[PlaneName, ...] = ("axial", "coronal", "sagittal")

_X, _Y, _Z = 0, 1, 2
_ROWS_TO: dict[PlaneName, int] = {"axial": _Y, "coronal": _Z, "sagittal": _Z}
_COLUMNS_TO: dict[PlaneName, int] = {"axial": _X, "coronal": _X, "sagittal": _Y}
_NORMAL: dict[PlaneName, int] = {"axial": _Z, "coronal": _Y, "sagittal": _X}
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in RAS mm: `low` and `high` corner."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    @property
    def size_mm(self) -> tuple[float, float, float]:
        """Extent along x (right), y (front), z (head)."""
        x, y, z = (high - low for low, high in zip(self.low, self.high, strict=True))
        return (x, y, z)


def bounding_box(grid: Grid) -> Box:
    """The smallest RAS box around the voxels of a grid, outer faces included."""
    corners = np.stack(np.meshgrid(*((-0.5, n - 0.5) for n in grid.shape), indexing="ij"), axis=-1)
    world = affines.apply(grid.affine_ras, corners.reshape(-1, 3))
    low, high = world.min(axis=0).tolist(), world.max(axis=0).tolist()
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def inverse(affine_ras: Affine) -> Affine:
    """RAS mm to index."""
    return np.asarray(np.linalg.inv(affine_ras), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Frame:
    """The pixels of one plane: `shape` (rows, columns) and `affine_ras`, index (row, column, 0) to RAS mm.

    Axial: rows run to the back, columns to the patient's left. Coronal: rows to the feet, columns to the
    left. Sagittal: rows to the feet, columns to the back.
    """

    name: PlaneName
    shape: tuple[int, int]
    step_mm: float
    affine_ras: Affine

    @property
    def normal_axis(self) -> int:
        """The world axis (0 x, 1 y, 2 z) across the plane."""
        return _NORMAL[self.name]

    @property
    def position_mm(self) -> float:
        """RAS coordinate of the plane along its normal."""
        return float(self.affine_ras[self.normal_axis, 3])

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """The patient's sides at the image's left, right, top and bottom (H head, F feet)."""
        across = ("A", "P") if self.name == "sagittal" else ("R", "L")
        down = ("A", "P") if self.name == "axial" else ("H", "F")
        return (*across, *down)

    @property
    def grid(self) -> Grid:
        """The plane as a grid of shape (rows, columns, 1)."""
        return Grid((*self.shape, 1), self.affine_ras)

    def pixel_of(self, point_mm: ArrayLike) -> tuple[float, float]:
        """Row and column (pixel centres are integers) of a RAS point's projection on the plane."""
        row, column, _ = affines.apply(inverse(self.affine_ras), point_mm)
        return float(row), float(column)


def frame(name: PlaneName, box: Box, through_mm: Sequence[float], step_mm: float) -> Frame:
    """The plane `name` of a box through a point, with square pixels of `step_mm` (centred on the box)."""
    rows_to, columns_to, normal = _ROWS_TO[name], _COLUMNS_TO[name], _NORMAL[name]
    shape = tuple(
        max(1, int(np.floor(box.size_mm[axis] / step_mm + 0.5 - _TOLERANCE)))
        for axis in (rows_to, columns_to)
    )
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    affine[normal, 2] = step_mm
    affine[normal, 3] = through_mm[normal]
    for index_axis, world in enumerate((rows_to, columns_to)):
        middle = (box.low[world] + box.high[world]) / 2
        affine[world, index_axis] = -step_mm
        affine[world, 3] = middle + step_mm * (shape[index_axis] - 1) / 2
    return Frame(name, (shape[0], shape[1]), step_mm, affine)


def covered(shape: Sequence[int], affine_ras: Affine, plane: Frame) -> NDArray[np.bool_]:
    """Which pixels [rows, columns] have their centre in the box of a grid of `shape` at `affine_ras`."""
    result = np.ones(plane.shape, dtype=bool)
    for position, n in zip(_positions(affine_ras, plane), shape, strict=True):
        result &= (position >= -0.5 - _TOLERANCE) & (position <= n - 0.5 + _TOLERANCE)
    return result


def sample(array: Voxels, affine_ras: Affine, plane: Frame, *, smooth: bool = True) -> NDArray[np.float32]:
    """Values [rows, columns] of a 3-D array at the plane's pixel centres; 0 outside its cells.

    `smooth`: linear between cell centres (the rule of `geometry.resample`), else the cell's value.
    """
    if smooth:
        index_affine = inverse(affine_ras) @ plane.affine_ras
        axes = aligned_axes(index_affine, plane.grid.shape)
        if axes is None:
            return resample_linear(array, affine_ras, plane.grid)[:, :, 0]
        return _aligned(np.transpose(array, axes), index_affine[list(axes)], plane.shape)
    index = [
        np.clip(np.rint(position - _TOLERANCE), 0, n - 1).astype(np.intp)
        for position, n in zip(_positions(affine_ras, plane), array.shape, strict=True)
    ]
    values: NDArray[np.float32] = array[index[0], index[1], index[2]].astype(np.float32)
    values[~covered(array.shape, affine_ras, plane)] = 0.0
    return values


def sample_scan(array: Voxels, affine_ras: Affine, plane: Frame) -> NDArray[np.float32]:
    """HU [rows, columns] of a scan at the plane's pixels: where voxels are finer than pixels, means over the pixel.

    A pixel stands for a cube of its own side, so that planes of all directions are equally sharp whatever the voxels'
    shape, and none depends on whether it goes through the middle of a voxel. Where voxels are coarser, linear between
    their centres as `sample` has it; 0 outside the scan.
    """
    index_affine = inverse(affine_ras) @ plane.affine_ras
    axes = aligned_axes(index_affine, plane.grid.shape)
    if axes is None:
        return _supersampled(array, affine_ras, plane)
    values, positions = np.transpose(array, axes), index_affine[list(axes)]
    # The normal first: only the slices that the pixels reach into are read.
    for axis in (2, 1, 0):
        count = plane.shape[axis] if axis < 2 else 1
        at = positions[axis, 3] + positions[axis, axis] * np.arange(count)
        values = _along(values, axis, at, abs(float(positions[axis, axis])))
    return np.asarray(values[:, :, 0], dtype=np.float32)


def _along(values: Voxels, axis: int, positions: NDArray[np.float64], width: float) -> Voxels:
    """Values at continuous positions along an axis; means over `width` voxels where that is more than one."""
    size = values.shape[axis]
    shape = [1, 1, 1]
    shape[axis] = -1
    if width <= 1.0 + _TOLERANCE:
        lower, upper, weights = _taps(size, positions)
        low, high = (weight.reshape(shape) for weight in weights)
        return np.asarray(np.take(values, lower, axis) * low + np.take(values, upper, axis) * high)
    ends = np.clip(np.stack([positions - width / 2, positions + width / 2]) + 0.5, 0.0, size)
    first, last = int(np.floor(ends.min())), max(int(np.ceil(ends.max())), int(np.floor(ends.min())) + 1)
    part = np.take(values, np.arange(min(first, size - 1), min(last, size)), axis).astype(np.float64)
    start = np.zeros_like(np.take(part, [0], axis))
    sums = np.concatenate([start, np.cumsum(part, axis)], axis)
    low, high = (_integral(sums, axis, end - min(first, size - 1)) for end in ends)
    length = np.maximum(ends[1] - ends[0], _TOLERANCE).reshape(shape)
    inside = (positions >= -0.5 - _TOLERANCE) & (positions <= size - 0.5 + _TOLERANCE)
    return np.asarray((high - low) / length * inside.reshape(shape))


def _integral(sums: NDArray[np.float64], axis: int, ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of whole voxels up to each end and of the part of the next one."""
    shape = [1, 1, 1]
    shape[axis] = -1
    last = sums.shape[axis] - 1
    lower = np.clip(np.floor(ends).astype(np.intp), 0, max(last - 1, 0))
    part = (ends - lower).reshape(shape)
    there = np.take(sums, lower, axis)
    return np.asarray(there + (np.take(sums, np.minimum(lower + 1, last), axis) - there) * part)


def _supersampled(array: Voxels, affine_ras: Affine, plane: Frame) -> NDArray[np.float32]:
    """An oblique scan: the mean of eight points of the pixel's cube where voxels are finer than it."""
    spacing = min(affines.spacing_mm(affine_ras))
    if plane.step_mm <= spacing * (1.0 + _TOLERANCE):
        return resample_linear(array, affine_ras, plane.grid)[:, :, 0]
    offsets = (-0.25, 0.25)
    total = np.zeros(plane.shape)
    for shift in np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3):
        moved = plane.affine_ras.copy()
        moved[:3, 3] += moved[:3, :3] @ shift
        total += resample_linear(array, affine_ras, Grid((*plane.shape, 1), moved))[:, :, 0]
    mean = (total / 8).astype(np.float32)
    mean[~covered(array.shape, affine_ras, plane)] = 0.0
    return mean


def _positions(affine_ras: Affine, plane: Frame) -> list[NDArray[np.float64]]:
    """Continuous index [rows, columns] along each of the three source axes at the plane's pixel centres."""
    index = inverse(affine_ras) @ plane.affine_ras
    rows, columns = np.arange(plane.shape[0])[:, None], np.arange(plane.shape[1])[None, :]
    return [index[axis, 3] + index[axis, 0] * rows + index[axis, 1] * columns for axis in range(3)]


def _aligned(array: Voxels, index_affine: Affine, shape: tuple[int, int]) -> NDArray[np.float32]:
    """`resample_linear` for one plane along an array's first two axes: two taps an axis, on two slices."""
    rows = _taps(array.shape[0], index_affine[0, 3] + index_affine[0, 0] * np.arange(shape[0]))
    columns = _taps(array.shape[1], index_affine[1, 3] + index_affine[1, 1] * np.arange(shape[1]))
    lower, upper, (low, high) = _taps(array.shape[2], index_affine[2, 3:])
    slab = array[:, :, lower[0]] * low + array[:, :, upper[0]] * high
    lower, upper, (low, high) = rows
    slab = slab[lower] * low[:, None] + slab[upper] * high[:, None]
    lower, upper, (low, high) = columns
    return np.asarray(slab[:, lower] * low + slab[:, upper] * high, dtype=np.float32)


def _taps(
    size: int, positions: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """What is not zero in `linear_matrix`: lower and upper index of each position, their weights [2, n]."""
    inside = (positions >= -0.5 - _TOLERANCE) & (positions <= size - 0.5 + _TOLERANCE)
    clamped = np.clip(positions, 0.0, size - 1.0)
    lower = np.minimum(np.floor(clamped).astype(np.intp), max(size - 2, 0))
    fraction = clamped - lower
    weights = np.stack([1.0 - fraction, fraction]) * inside
    return lower, np.minimum(lower + 1, size - 1), weights.astype(np.float32)
