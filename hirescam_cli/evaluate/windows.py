"""Parts of a network's input that a placement says belong to a cell, or to a block of cells, of its maps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3

Box = tuple[slice, slice, slice]

MOST_IN_PLANE = 8
"""Windows along an axis of a slice group: a finer map is taken in blocks of cells."""
MOST_IN_VOLUME = 4
"""The same along an axis of a network that takes the volume as a whole."""

_DECIMALS = 6


@dataclass(frozen=True)
class Window:
    """`cells` of a map, and the `voxels` of the input that they stand for and that hold scan.

    `group`: of one slice group, whose cell along the first axis is the whole of it.
    """

    cells: Box
    voxels: Box
    group: bool = False


def windows_of_group(
    group: int, slab: int, cells: Shape3, to_voxel: Affine, edges: tuple[tuple[float, float], ...]
) -> list[Window]:
    """The windows of one slice group of `slab` slices: all of its slices, and the cells of its plane in blocks."""
    along = slice(group * slab, (group + 1) * slab)
    return _windows((slice(group, group + 1), along), cells, to_voxel, edges, MOST_IN_PLANE)


def windows_of_volume(
    cells: Shape3, to_voxel: Affine, edges: tuple[tuple[float, float], ...]
) -> list[Window]:
    """The windows of a whole volume: its cells in blocks."""
    return _windows(None, cells, to_voxel, edges, MOST_IN_VOLUME)


def _windows(
    fixed: tuple[slice, slice] | None,
    cells: Shape3,
    to_voxel: Affine,
    edges: tuple[tuple[float, float], ...],
    most: int,
) -> list[Window]:
    """Windows that hold scan; those of nothing but padding show what padding does, not what the scan does."""
    axes = [_blocks(axis, cells[axis], to_voxel, edges[axis], most) for axis in range(3)]
    if fixed is not None:
        axes[0] = [(fixed[0], _clipped(fixed[1].start, fixed[1].stop, edges[0]))]
    return [
        Window((i[0], j[0], k[0]), (i[1], j[1], k[1]), fixed is not None)
        for i in axes[0]
        for j in axes[1]
        for k in axes[2]
        if min(part.stop - part.start for part in (i[1], j[1], k[1])) > 0
    ]


def _blocks(
    axis: int, count: int, to_voxel: Affine, edges: tuple[float, float], most: int
) -> list[tuple[slice, slice]]:
    """Cells of an axis in at most `most` blocks as even as can be, and the voxels whose centres lie in each."""
    borders = np.rint(np.linspace(0, count, min(count, most) + 1)).astype(int).tolist()
    stride, offset = float(to_voxel[axis, axis]), float(to_voxel[axis, 3])
    found = []
    for first, stop in itertools.pairwise(borders):
        low, high = (stride * (border - 0.5) + offset for border in (first, stop))
        start, end = (int(np.ceil(round(place, _DECIMALS))) for place in (low, high))
        found.append((slice(first, stop), _clipped(start, end, edges)))
    return found


def _clipped(start: int, stop: int, edges: tuple[float, float]) -> slice:
    """A range of voxels without those whose centres lie outside of the scan."""
    low = int(np.ceil(round(edges[0], _DECIMALS)))
    high = int(np.floor(round(edges[1], _DECIMALS))) + 1
    first = max(start, low, 0)
    return slice(first, max(first, min(stop, high)))
