"""Distances to the True voxels of an array: its surface, and least squares axis by axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CHUNK = 2_000_000


def surface(array: Bools) -> Bools:
    """The True voxels with a neighbour across a face that is not."""
    inner = np.zeros_like(array)
    inner[1:-1, 1:-1, 1:-1] = array[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        inner[tuple(ahead)] &= array[tuple(behind)]
        inner[tuple(behind)] &= array[tuple(ahead)]
    return array & ~inner


def nearest_squares(array: Bools, places: Floats, axis: int, spacing_mm: float) -> Floats:
    """Squares in mm from each of `places` (in voxels) along an axis to the nearest True voxel of each line.

    It is the last one before the place or the first one behind it; inf where a line has none.
    """
    lines = np.moveaxis(array, axis, 0)
    index = np.arange(len(lines), dtype=np.float32).reshape(-1, 1, 1)
    before = np.maximum.accumulate(np.where(lines, index, np.float32(-np.inf)))
    behind = np.minimum.accumulate(np.where(lines, index, np.float32(np.inf))[::-1])[::-1]
    found = np.full((len(places), *lines.shape[1:]), np.inf)
    for place, out in zip(places, found, strict=True):
        last = int(np.floor(place))
        if last >= 0:
            out[...] = ((place - before[min(last, len(lines) - 1)]) * spacing_mm) ** 2
        if last + 1 < len(lines):
            np.minimum(out, ((place - behind[max(last + 1, 0)]) * spacing_mm) ** 2, out=out)
    return np.moveaxis(found, 0, axis)


def least(values: Floats, squares: Floats, axis: int) -> Floats:
    """min over n of values[.., n, ..] + squares[c, n], for each c in place of n."""
    lines = np.moveaxis(values, axis, -1)
    found = np.empty((*lines.shape[:-1], len(squares)))
    step = max(1, _CHUNK // max(1, lines.size))
    for first in range(0, len(squares), step):
        part = squares[first : first + step]
        found[..., first : first + step] = (lines[..., None, :] + part).min(axis=-1)
    return np.moveaxis(found, -1, axis)
