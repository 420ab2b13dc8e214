"""From polygons to voxels: the even-odd rule at voxel centres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.masks.mask import Inside

Polygon = NDArray[np.float64]


def even_odd(polygons: Sequence[Polygon], shape: tuple[int, int]) -> Inside:
    """Which pixel centres [i, j] lie inside an odd number of closed polygons [n, 2] of (i, j) indices.

    A polygon inside another is a hole, one inside the hole an island. A centre on a left or lower edge counts as
    inside, one on a right or upper edge as outside, so that polygons that share an edge share no pixel.
    """
    crossings = np.zeros((shape[0] + 1, shape[1]), dtype=np.int32)
    for polygon in polygons:
        i, j = _crossed(polygon, shape[1])
        np.add.at(crossings, (np.clip(np.ceil(i), 0, shape[0]).astype(np.intp), j), 1)
    inside: Inside = np.cumsum(crossings, axis=0)[: shape[0]] % 2 == 1
    return inside


def _crossed(polygon: Polygon, rows: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Where the polygon's edges cross the lines j = 0, 1, ...: index i, and which line."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    upwards = start[:, 1] <= end[:, 1]
    low = np.where(upwards[:, None], start, end)
    high = np.where(upwards[:, None], end, start)
    first = np.clip(np.ceil(low[:, 1]), 0, rows).astype(np.intp)
    last = np.clip(np.ceil(high[:, 1]), 0, rows).astype(np.intp)
    counts = last - first
    edge = np.repeat(np.arange(len(polygon)), counts)
    line = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    share = (line - low[edge, 1]) / (high[edge, 1] - low[edge, 1])
    return low[edge, 0] + share * (high[edge, 0] - low[edge, 0]), line
