"""What a window of a scan is replaced by. None of them is neutral in a CT, so more than one is asked.

Air in soft tissue is a cavity, the mean in lung is a mass, and a blur leaves what is larger than itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry.types import Voxels

FILLS = ("blur", "mean", "air")
BLUR_MM = 16.0

Values = NDArray[np.float32]


def filling(
    name: str, voxels: Voxels, inside: NDArray[np.bool_], spacing_mm: Sequence[float], air: float, deep: bool
) -> Values:
    """Voxels [i, j, k] of the shape of `voxels`, to take windows from.

    "air": `air`, the value of -1000 HU. "mean": that of the voxels `inside` the scan. "blur": a Gaussian of 16 mm in
    the plane of the slices and, if `deep`, across them. Raises KeyError for another name.
    """
    if name == "air":
        return np.full(voxels.shape, air, dtype=np.float32)
    if name == "mean":
        return np.full(voxels.shape, voxels[inside].mean(dtype=np.float64), dtype=np.float32)
    if name == "blur":
        axes = range(0 if deep else 1, 3)
        return blurred(voxels, {axis: BLUR_MM / spacing_mm[axis] for axis in axes})
    raise KeyError(name)


def blurred(voxels: Voxels, sigmas: dict[int, float]) -> Values:
    """A Gaussian with so many voxels of sigma along each axis; at the ends the weights that are there count more."""
    values = np.asarray(voxels, dtype=np.float32)
    for axis, sigma in sigmas.items():
        place = np.arange(values.shape[axis], dtype=np.float64)
        weights = np.exp(-0.5 * ((place[:, None] - place[None, :]) / sigma) ** 2)
        weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values)
