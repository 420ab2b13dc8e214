"""What a map says in numbers: completeness certificate, peak, evidence in padding, agreement of methods.

Maps are signed, in logit units, [S, h, w]; sums are taken in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines

COMPLETE_RESIDUAL = 1e-4

Content = Sequence[tuple[int, int]]


def certificate(cam_syx: NDArray[np.float32], bias: float, logit: float) -> dict[str, Any]:
    """sum, bias, residual = |sum + bias - logit| / max(1, |logit|), complete, positive_sum, negative_sum."""
    values = cam_syx.astype(np.float64)
    total = float(values.sum())
    residual = abs(total + bias - logit) / max(1.0, abs(logit))
    return {
        "sum": total,
        "bias": bias,
        "residual": residual,
        "complete": residual <= COMPLETE_RESIDUAL,
        "positive_sum": float(values[values > 0].sum()),
        "negative_sum": float(values[values < 0].sum()),
    }


def padding_weights(cell_affine: Affine, cells: Sequence[int], content_zyx: Content) -> NDArray[np.float64]:
    """For each cell [S, h, w] the share of its box that is padding.

    `cell_affine`: cell (s, y, x) to input voxel (z, y, x); `content_zyx`: per axis the input voxels that hold
    scan. A cell's box reaches half-way to its neighbours.
    """
    share = np.ones(tuple(cells))
    for axis, (start, stop) in enumerate(content_zyx):
        width = cell_affine[axis, axis]
        centre = width * np.arange(cells[axis]) + cell_affine[axis, 3]
        low = np.maximum(centre - width / 2, start - 0.5)
        high = np.minimum(centre + width / 2, stop - 0.5)
        inside = np.clip(high - low, 0.0, None) / width
        share *= inside.reshape([-1 if a == axis else 1 for a in range(3)])
    weights: NDArray[np.float64] = np.clip(1.0 - share, 0.0, 1.0)
    return weights


def padding_share(cam_syx: NDArray[np.float32], weights: NDArray[np.float64]) -> float:
    """Share of the map's absolute evidence that lies in padding."""
    magnitude = np.abs(cam_syx.astype(np.float64))
    total = magnitude.sum()
    return float((magnitude * weights).sum() / total) if total > 0 else 0.0


def peak(cam_syx: NDArray[np.float32], affine_ras: Affine, scan: Grid) -> dict[str, Any]:
    """The largest cell: its value, its centre in RAS mm, and the scan voxel nearest to it (None: outside)."""
    cell = np.unravel_index(int(cam_syx.argmax()), cam_syx.shape)
    world = affines.apply(affine_ras, np.asarray(cell, dtype=np.float64))
    to_scan: Affine = np.asarray(np.linalg.inv(scan.affine_ras), dtype=np.float64)
    index = np.rint(affines.apply(to_scan, world)).astype(int)
    inside = bool(((index >= 0) & (index < scan.shape)).all())
    return {
        "value": float(cam_syx[cell]),
        "index_ijk": [int(i) for i in index] if inside else None,
        "world_mm": [float(w) for w in world],
    }


def agreement(first: NDArray[np.float32], second: NDArray[np.float32], affine_ras: Affine) -> dict[str, Any]:
    """Pearson correlation of two maps (None if one is constant) and the distance of their peaks in mm."""
    a, b = (m.astype(np.float64).ravel() - m.astype(np.float64).mean() for m in (first, second))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    peaks = [
        affines.apply(affine_ras, np.asarray(np.unravel_index(int(m.argmax()), m.shape), dtype=np.float64))
        for m in (first, second)
    ]
    return {
        "correlation": float(np.clip((a @ b) / norm, -1.0, 1.0)) if norm > 0 else None,
        "peak_distance_mm": float(np.linalg.norm(peaks[0] - peaks[1])),
    }
