"""What a map says in numbers: completeness certificate, peak, evidence in padding, agreement of methods.

Maps are signed, [i, j, k]; sums are taken in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.record import Agreement, Peak
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines

COMPLETE_RESIDUAL = 1e-4


class Certificate(NamedTuple):
    """The first fields of `MapEvidence`."""

    sum: float
    bias: float
    residual: float
    complete: bool
    positive_sum: float
    negative_sum: float


def certificate(cam_ijk: NDArray[np.float32], bias: float, logit: float) -> Certificate:
    """How far a map and the bias part account for a logit: see `MapEvidence`."""
    values = cam_ijk.astype(np.float64)
    total = float(values.sum())
    residual = abs(total + bias - logit) / max(1.0, abs(logit))
    return Certificate(
        sum=total,
        bias=bias,
        residual=residual,
        complete=residual <= COMPLETE_RESIDUAL,
        positive_sum=float(values[values > 0].sum()),
        negative_sum=float(values[values < 0].sum()),
    )


def padding_weights(
    cell_affine: Affine, cells: Sequence[int], edges: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """For each cell [i, j, k] the share of its box that is padding.

    `cell_affine`: cell to input voxel; `edges`: per axis between which input index there is scan. A cell's box reaches
    half-way to its neighbours.
    """
    share = np.ones(tuple(cells))
    for axis, (start, stop) in enumerate(edges):
        width = cell_affine[axis, axis]
        centre = width * np.arange(cells[axis]) + cell_affine[axis, 3]
        low = np.maximum(centre - width / 2, start)
        high = np.minimum(centre + width / 2, stop)
        inside = np.clip(high - low, 0.0, None) / width
        share *= inside.reshape([-1 if a == axis else 1 for a in range(3)])
    weights: NDArray[np.float64] = np.clip(1.0 - share, 0.0, 1.0)
    return weights


def padding_share(cam_ijk: NDArray[np.float32], weights: NDArray[np.float64]) -> float:
    """Share of the map's absolute evidence that lies in padding."""
    magnitude = np.abs(cam_ijk.astype(np.float64))
    total = magnitude.sum()
    return float((magnitude * weights).sum() / total) if total > 0 else 0.0


def peak(cam_ijk: NDArray[np.float32], affine_ras: Affine, scan: Grid) -> Peak:
    """The largest cell: its value, its centre in RAS mm, and the scan voxel nearest to it (None: outside)."""
    cell = np.unravel_index(int(cam_ijk.argmax()), cam_ijk.shape)
    world = affines.apply(affine_ras, np.asarray(cell, dtype=np.float64))
    to_scan: Affine = np.asarray(np.linalg.inv(scan.affine_ras), dtype=np.float64)
    index = np.rint(affines.apply(to_scan, world)).astype(int)
    inside = bool(((index >= 0) & (index < scan.shape)).all())
    i, j, k = (int(n) for n in index)
    x, y, z = (float(w) for w in world)
    return Peak(value=float(cam_ijk[cell]), index_ijk=(i, j, k) if inside else None, world_mm=(x, y, z))


def agreement(first: NDArray[np.float32], second: NDArray[np.float32], affine_ras: Affine) -> Agreement:
    """Pearson correlation of two maps (None if one is constant) and the distance of their peaks in mm."""
    a, b = (m.astype(np.float64).ravel() - m.astype(np.float64).mean() for m in (first, second))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    peaks = [
        affines.apply(affine_ras, np.asarray(np.unravel_index(int(m.argmax()), m.shape), dtype=np.float64))
        for m in (first, second)
    ]
    return Agreement(
        correlation=float(np.clip((a @ b) / norm, -1.0, 1.0)) if norm > 0 else None,
        peak_distance_mm=float(np.linalg.norm(peaks[0] - peaks[1])),
    )
