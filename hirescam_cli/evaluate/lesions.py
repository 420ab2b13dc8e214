"""Lesions of a mask and peaks of a map: connected components of voxels, and local maxima of cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

# Of the 26 neighbours of a voxel, the rows of voxels that come before its own row, as steps along the first two axes.
_ROWS_BEFORE = ((0, -1), (-1, -1), (-1, 0), (-1, 1))


def components(array_ijk: Bools) -> Iterator[Bools]:
    """The 26-connected components of a mask, each as an array of the mask's shape, in the order of their first voxel.

    A mask that is one component is given back itself. Whole runs of voxels along the last axis are joined, so that the
    work grows with the surface, not the volume.
    """
    rows, starts, stops = _runs(array_ijk)
    names = _joined(len(rows), _neighbours(array_ijk.shape, rows, starts, stops))
    different = np.unique(names)
    if different.size == 1:
        yield array_ijk
        return
    for name in different:
        flat = np.zeros((array_ijk.shape[0] * array_ijk.shape[1], array_ijk.shape[2]), dtype=bool)
        for run in np.flatnonzero(names == name):
            flat[rows[run], starts[run] : stops[run]] = True
        yield flat.reshape(array_ijk.shape)


def _runs(array: Bools) -> tuple[Indices, Indices, Indices]:
    """Runs of True along the last axis: row (flat index over the first two axes), first voxel, one past the last."""
    flat = array.reshape(-1, array.shape[2])
    edges = np.zeros((flat.shape[0], flat.shape[1] + 2), dtype=bool)
    edges[:, 1:-1] = flat
    # From False to True and back, by turns.
    rows, ends = np.divmod(np.flatnonzero(edges[:, 1:] != edges[:, :-1]), flat.shape[1] + 1)
    return rows[::2], ends[::2], ends[1::2]


def _neighbours(
    shape: tuple[int, ...], rows: Indices, starts: Indices, stops: Indices
) -> tuple[Indices, Indices]:
    """Pairs of runs that touch, corners included."""
    width = shape[2] + 4
    first_keys, last_keys = rows * width + starts, rows * width + stops - 1
    i, j = np.divmod(rows, shape[1])
    ones, others = [], []
    for di, dj in _ROWS_BEFORE:
        there = (i + di >= 0) & (j + dj >= 0) & (j + dj < shape[1])
        runs = np.flatnonzero(there)
        base = ((i + di) * shape[1] + j + dj)[runs] * width
        low = np.searchsorted(last_keys, base + np.maximum(starts[runs] - 1, 0), side="left")
        high = np.searchsorted(first_keys, base + stops[runs], side="right")
        count = np.maximum(high - low, 0)
        ones.append(np.repeat(runs, count))
        shift = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        others.append(np.repeat(low, count) + shift)
    return np.concatenate(ones), np.concatenate(others)


def _joined(count: int, pairs: tuple[Indices, Indices]) -> Indices:
    """For each of `count` nodes the smallest node that it is joined to."""
    name = np.arange(count)
    one, other = pairs
    while True:
        least = np.minimum(name[one], name[other])
        before = name.copy()
        np.minimum.at(name, name[one], least)
        np.minimum.at(name, name[other], least)
        while (name[name] != name).any():
            name = name[name]
        if np.array_equal(name, before):
            return name


def local_maxima(cam: NDArray[np.float64], count: int) -> list[tuple[int, int, int]]:
    """The `count` highest positive cells that none of their 26 neighbours exceeds, highest first.

    Of neighbours with equal values only the first is taken.
    """
    if count == 1:
        i, j, k = (int(n) for n in np.unravel_index(int(cam.argmax()), cam.shape))
        return [(i, j, k)] if cam[i, j, k] > 0 else []
    padded = np.pad(cam, 1, constant_values=-np.inf)
    highest = np.full(cam.shape, True)
    for step in np.ndindex(3, 3, 3):
        if step != (1, 1, 1):
            part = tuple(slice(s, s + n) for s, n in zip(step, cam.shape, strict=True))
            earlier = step < (1, 1, 1)
            highest &= (cam > padded[part]) if earlier else (cam >= padded[part])
    cells = np.argwhere(highest & (cam > 0))
    order = np.argsort(-cam[tuple(cells.T)], kind="stable")[:count]
    return [(int(i), int(j), int(k)) for i, j, k in cells[order]]
