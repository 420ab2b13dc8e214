"""A mask seen by the cells of a map: which share of each cell it fills, and how far each cell is from it.

A cell is a box around its centre that reaches half-way to its neighbours; a mask is made of voxel boxes. Both have
their own affine, so a mask's grid need not be the scan's. Where the two grids are parallel, as they mostly are, shares
and distances are exact and separable; else voxels that reach into several cells are cut into small parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.distances import least, nearest_squares, surface
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import aligned_axes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

_TOUCH = 1e-6
_PART_OF_CELL = 1 / 32
_PARTS = (2, 16)
"""Along each axis of a voxel, where there are many voxels, and where there are few."""
_POINTS = 20_000_000
_MOST_PARTS = 8
_CHUNK = 2_000_000
_CORNERS = list(np.ndindex(2, 2, 2))


class MaskOnCells:
    """A mask [i, j, k] (index to RAS mm: `affine_ras`) on the cells of a map. An empty mask is allowed.

    `tight`: the array is the box of its True voxels, as `cropped` gives it.
    """

    def __init__(self, array_ijk: Bools, affine_ras: Affine, cells: Grid, *, tight: bool = False) -> None:
        self.array, self.affine = (array_ijk, affine_ras) if tight else cropped(array_ijk, affine_ras)
        self.cells = cells
        self.to_cell: Affine = np.linalg.inv(cells.affine_ras) @ self.affine
        self.axes = aligned_axes(self.to_cell, array_ijk.shape)
        self.volume_mm3 = float(self.array.sum()) * abs(float(np.linalg.det(affine_ras[:3, :3])))

    @cached_property
    def share(self) -> Floats:
        """f [cells]: the share of each cell's box that the mask fills, from 0 to 1."""
        if not self.array.size:
            return np.zeros(self.cells.shape)
        found = self._share_parallel() if self.axes is not None else self._share_oblique()
        return np.clip(found, 0.0, 1.0)

    @cached_property
    def touched(self) -> Bools:
        """The cells that the mask fills in part."""
        return np.asarray(self.share > 0)

    @cached_property
    def points_mm(self) -> Floats:
        """Centres in RAS mm of the mask's outer voxels [n, 3]: from outside, one of them is the nearest."""
        return affines.apply(self.affine, np.argwhere(surface(self.array)))

    def contains(self, point_mm: Floats) -> bool:
        """Whether a point lies in a voxel of the mask."""
        return bool(self._inside(point_mm[None])[0])

    def _inside(self, points_mm: Floats) -> Bools:
        """Which of the points [n, 3] lie in voxels of the mask [n]."""
        index = np.rint(affines.apply(_inverse(self.affine), points_mm)).astype(int)
        within = ((index >= 0) & (index < self.array.shape)).all(axis=1)
        inside = np.zeros(len(index), dtype=bool)
        inside[within] = self.array[tuple(index[within].T)]
        return inside

    @cached_property
    def distances_mm(self) -> Floats:
        """From each cell's centre to the nearest voxel centre of the mask, 0 inside the mask [cells].

        Raises ValueError for an empty mask.
        """
        return self._distances([np.arange(n) for n in self.cells.shape])

    def distance_mm(self, cell: tuple[int, ...]) -> float:
        """That of one cell. Raises ValueError for an empty mask."""
        centre = affines.apply(self.cells.affine_ras, np.asarray(cell, dtype=np.float64))
        if self.contains(centre):
            return 0.0
        away = self.points_mm - centre
        return float(np.sqrt(np.einsum("na,na->n", away, away).min()))

    def near(self, tolerance_mm: float) -> Bools:
        """The cells no farther than that from the mask [cells]. Raises ValueError for an empty mask."""
        found = np.zeros(self.cells.shape, dtype=bool)
        some = [np.arange(n) for n in self.cells.shape]
        if self.axes is not None:
            # Only cells that are that near along each axis can be so as a whole.
            spacing = affines.spacing_mm(self.affine)
            for t, s in enumerate(self.axes):
                beyond = tolerance_mm / spacing[t] + 1.0
                places = self._places(t, some[s])
                some[s] = some[s][(places >= -beyond) & (places <= self.array.shape[t] - 1 + beyond)]
        found[np.ix_(*some)] = self._distances(some) <= tolerance_mm
        return found

    def gap_mm(self, cell: tuple[int, ...]) -> float:
        """From a cell's box to the nearest voxel centre of the mask; 0 where the mask reaches into the cell."""
        if self.share[cell] > 0:
            return 0.0
        away = np.maximum(np.abs(self._points - np.asarray(cell)) - 0.5, 0.0) * self.cells.spacing_mm
        return float(np.sqrt(np.einsum("na,na->n", away, away).min()))

    @cached_property
    def _points(self) -> Floats:
        """`points_mm` as indices of cells."""
        return affines.apply(_inverse(self.cells.affine_ras), self.points_mm)

    def _share_parallel(self) -> Floats:
        """Shares along each axis multiply; axes with few cells for their voxels are summed first."""
        assert self.axes is not None
        weights = [
            overlap(self.cells.shape[s], self.array.shape[t], self.to_cell[s, t], self.to_cell[s, 3])
            for t, s in enumerate(self.axes)
        ]
        order = sorted(range(3), key=lambda t: -weights[t].shape[0] / weights[t].shape[1])
        first, second, third = (weights[t] for t in order)
        values = self.array.transpose(order)
        total = np.zeros((len(first), len(second) * len(third)))
        depth = max(1, _CHUNK // max(1, values[0].size))
        for start in range(0, len(values), depth):
            part = slice(start, start + depth)
            lines = second @ (values[part].astype(np.float64) @ third.T)
            total += first[:, part] @ lines.reshape(len(lines), -1)
        cells = [self.axes[t] for t in order]
        found = total.reshape(len(first), len(second), len(third))
        return np.ascontiguousarray(found.transpose([cells.index(a) for a in range(3)]))

    def _share_oblique(self) -> Floats:
        """A voxel that lies in one cell counts whole there, any other by its parts, the finer the fewer there are."""
        reach = np.abs(self.to_cell[:3, :3]).sum(axis=1) / 2.0
        total = np.zeros(self.cells.shape)
        voxels, across = np.argwhere(self.array), []
        for first in range(0, len(voxels), _CHUNK):
            some = voxels[first : first + _CHUNK]
            place = affines.apply(self.to_cell, some)
            alone = (np.abs(place - np.rint(place)) + reach <= 0.5).all(axis=1)
            total += self._counted(place[alone])
            across.append(some[~alone])
        total += self._counted_in_parts(np.concatenate(across))
        return total * abs(float(np.linalg.det(self.to_cell[:3, :3])))

    def _counted_in_parts(self, voxels: Indices) -> Floats:
        """The same of voxels [n, 3] of the mask, each cut into parts of a volume of 1 together."""
        total = np.zeros(self.cells.shape)
        most = int(np.clip((_POINTS / max(1, len(voxels))) ** (1 / 3), *_PARTS))
        size = np.abs(self.to_cell[:3, :3]).sum(axis=0)
        parts = np.clip(np.ceil(size / _PART_OF_CELL), 1, most).astype(int)
        offsets = [(np.arange(n) + 0.5) / n - 0.5 for n in parts]
        sub = np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3)
        step = max(1, _CHUNK // len(sub))
        for first in range(0, len(voxels), step):
            points = (voxels[first : first + step, None] + sub).reshape(-1, 3)
            total += self._counted(affines.apply(self.to_cell, points)) / len(sub)
        return total

    def _counted(self, places: Floats) -> Floats:
        """How many of the places [n, 3], in cells, lie in each cell [cells]."""
        index = np.rint(places).astype(int)
        index = index[((index >= 0) & (index < self.cells.shape)).all(axis=1)]
        flat = np.ravel_multi_index(tuple(index.T), self.cells.shape)
        return (
            np.bincount(flat, minlength=int(np.prod(self.cells.shape)))
            .reshape(self.cells.shape)
            .astype(float)
        )

    def _distances(self, some: Sequence[Indices]) -> Floats:
        """`distances_mm` of the cells at these indices along each axis."""
        if not self.array.any():
            raise ValueError("nothing is near an empty mask")
        shape = [len(index) for index in some]
        if not all(shape):
            return np.empty(shape)
        cells = np.stack(np.meshgrid(*some, indexing="ij"), axis=-1).reshape(-1, 3)
        centres = affines.apply(self.cells.affine_ras, cells)
        found = self._distances_oblique(centres) if self.axes is None else self._distances_parallel(some)
        found = found.reshape(shape)
        found[self._inside(centres).reshape(shape)] = 0.0
        return found

    def _places(self, axis: int, cells: Indices) -> Floats:
        """Where cells lie along an axis of the mask, in voxels."""
        assert self.axes is not None
        s = self.axes[axis]
        return np.asarray((cells - self.to_cell[s, 3]) / self.to_cell[s, axis], dtype=np.float64)

    def _distances_parallel(self, some: Sequence[Indices]) -> Floats:
        """The squared distance is a sum over axes, so its minimum is taken axis by axis."""
        assert self.axes is not None
        spacing = affines.spacing_mm(self.affine)
        places, squares = [], []
        for t, s in enumerate(self.axes):
            places.append(self._places(t, some[s]))
            squares.append(((places[t][:, None] - np.arange(self.array.shape[t])) * spacing[t]) ** 2)
        order = sorted(range(3), key=lambda a: len(squares[a]) / squares[a].shape[1])
        values = nearest_squares(self.array, places[order[0]], order[0], spacing[order[0]])
        for axis in order[1:]:
            values = least(values, squares[axis], axis)
        return np.ascontiguousarray(np.transpose(np.sqrt(values), [self.axes.index(a) for a in range(3)]))

    def _distances_oblique(self, centres: Floats) -> Floats:
        found = np.empty(len(centres))
        step = max(1, _CHUNK // max(1, len(self.points_mm)))
        squares = (self.points_mm**2).sum(axis=1)
        for first in range(0, len(centres), step):
            part = centres[first : first + step]
            near = squares - 2.0 * (part @ self.points_mm.T)
            best = self.points_mm[near.argmin(axis=1)]
            found[first : first + step] = np.sqrt(((part - best) ** 2).sum(axis=1))
        return found


def overlap(cells: int, voxels: int, scale: float, offset: float) -> Floats:
    """Share of cell c that voxel n covers along an axis [cells, voxels]; voxel n is centred on cell scale * n + offset.

    A sliver below a millionth of the smaller of the two is none: it is rounding.
    """
    centre = scale * np.arange(voxels) + offset
    half = abs(scale) / 2.0
    low = np.maximum(centre - half, np.arange(cells)[:, None] - 0.5)
    high = np.minimum(centre + half, np.arange(cells)[:, None] + 0.5)
    width = high - low
    return np.where(width > _TOUCH * min(1.0, abs(scale)), width, 0.0)


def box_share(box: Grid, cells: Grid) -> Floats:
    """The share of each cell that lies in the volume of the grid `box` [cells]."""
    to_cell: Affine = np.linalg.inv(cells.affine_ras) @ box.affine_ras
    axes = aligned_axes(to_cell, box.shape)
    if axes is None:
        return _box_share_oblique(box, cells)
    found = np.ones(cells.shape)
    for t, s in enumerate(axes):
        size = box.shape[t] * to_cell[s, t]
        middle = to_cell[s, t] * (box.shape[t] - 1) / 2.0 + to_cell[s, 3]
        along = overlap(cells.shape[s], 1, size, middle)[:, 0]
        found *= along.reshape([-1 if a == s else 1 for a in range(3)])
    return np.clip(found, 0.0, 1.0)


def _box_share_oblique(box: Grid, cells: Grid) -> Floats:
    offsets = (np.arange(_MOST_PARTS) + 0.5) / _MOST_PARTS - 0.5
    sub = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    to_box: Affine = np.linalg.inv(box.affine_ras) @ cells.affine_ras
    found = []
    for cell in np.argwhere(np.ones(cells.shape, dtype=bool)):
        index = affines.apply(to_box, cell + sub)
        found.append(((index > -0.5) & (index < np.asarray(box.shape) - 0.5)).all(axis=1).mean())
    return np.asarray(found).reshape(cells.shape)


def share_inside(array_ijk: Bools, affine_ras: Affine, box: Grid) -> float:
    """The share of a mask's volume that lies in the volume of the grid `box`; 0 for an empty mask."""
    if not array_ijk.any():
        return 0.0
    corners = np.array(_CORNERS) * np.asarray(array_ijk.shape) - 0.5
    index = affines.apply(_inverse(box.affine_ras) @ affine_ras, corners)
    if (index >= -0.5).all() and (index <= np.asarray(box.shape) - 0.5).all():
        return 1.0
    i, j, k = box.shape
    whole = affines.scaling((i, j, k), ((i - 1) / 2.0, (j - 1) / 2.0, (k - 1) / 2.0))
    one = Grid((1, 1, 1), box.affine_ras @ whole)
    mask = MaskOnCells(array_ijk, affine_ras, one)
    volume = abs(float(np.linalg.det(one.affine_ras[:3, :3])))
    return min(1.0, float(mask.share[0, 0, 0]) * volume / mask.volume_mm3)


def _inverse(affine: Affine) -> Affine:
    return np.asarray(np.linalg.inv(affine), dtype=np.float64)


def cropped(array_ijk: Bools, affine_ras: Affine) -> tuple[Bools, Affine]:
    """The box of a mask's True voxels (a view) and its affine; an empty box where there is none."""
    low, high = _bounds(array_ijk)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return array_ijk[box], affine_ras @ affines.scaling((1.0, 1.0, 1.0), low)


def _bounds(array: Bools) -> tuple[list[int], list[int]]:
    """First index and one past the last of the True voxels, by axis; 0 and 0 where there is none.

    The axis whose planes lie together in memory goes first: it alone is read in full.
    """
    low, high = [0, 0, 0], [0, 0, 0]
    box = [slice(None)] * 3
    for axis in np.argsort(np.abs(array.strides))[::-1]:
        lines = np.moveaxis(array[tuple(box)], axis, 0).view(np.uint8)
        order = [0, *(1 + np.argsort(np.abs(lines.strides[1:]))[::-1])]
        found = np.flatnonzero(lines.transpose(order).reshape(len(lines), -1).max(axis=1, initial=0))
        if not found.size:
            return [0, 0, 0], [0, 0, 0]
        low[axis], high[axis] = int(found[0]), int(found[-1]) + 1
        box[axis] = slice(low[axis], high[axis])
    return low, high
