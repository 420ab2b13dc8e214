"""Which positions of a scan need computing once: those of padding that hold the same voxels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry.types import Voxels


class Shared(NamedTuple):
    """`unique`: the positions that are computed; `place` [n]: which of them stands for each position of the scan."""

    unique: NDArray[np.int64]
    place: NDArray[np.int64]


def shared(positions: Voxels, padding: NDArray[np.bool_]) -> Shared:
    """Positions [n, slices, j, k], of which those that are `padding` [n] may be alike: each such group once, last.

    They are compared voxel by voxel: padding of two steps, or padding that was resampled, need not be of one value.
    """
    unique = np.flatnonzero(~padding).tolist()
    place = np.zeros(len(positions), dtype=np.int64)
    place[unique] = np.arange(len(unique))
    first = len(unique)
    for position in np.flatnonzero(padding).tolist():
        alike = (n for n in range(first, len(unique)) if _equal(positions[unique[n]], positions[position]))
        place[position] = number = next(alike, len(unique))
        if number == len(unique):
            unique.append(position)
    return Shared(np.asarray(unique, dtype=np.int64), place)


def _equal(one: Voxels, other: Voxels) -> bool:
    return bool(one.flat[0] == other.flat[0]) and np.array_equal(one, other)
