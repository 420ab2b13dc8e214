"""Bringing the slices of a tilted, uneven or incomplete stack onto its orthogonal, even grid, linearly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry.resample import linear_matrix
from hirescam_cli.io.dicom.geometry import Stack
from hirescam_cli.io.values import AIR_HU


def resample_stack(array_kji: NDArray[np.generic], stack: Stack) -> NDArray[np.float32]:
    """The slices [position, row, column] on the stack's grid [slice, row, column], in float32.

    First each slice moves in its own plane by its shift (tilt), with air (-1024 HU) where no slice has been;
    then the slices between two positions are weighted by their distances. A grid slice at a position is that
    slice.
    """
    columns, rows, count = stack.shape_ijk
    weights = _slice_weights(stack)
    result = np.zeros((count, rows, columns), dtype=np.float32)
    for position, slice_rows in enumerate(array_kji):
        moved = (
            _moved(slice_rows, stack.shifts_px[position], rows, columns)
            if stack.resample_plane
            else slice_rows
        )
        for target in np.flatnonzero(weights[:, position]):
            result[target] += np.float32(weights[target, position]) * moved
    return result


def _slice_weights(stack: Stack) -> NDArray[np.float64]:
    """Weights [target, position]: linear between neighbouring positions."""
    if not stack.resample_normal:
        return np.eye(len(stack.order))
    index = np.interp(stack.targets_mm, stack.distances_mm, np.arange(len(stack.order), dtype=np.float64))
    nearest = np.rint(index)
    snapped = np.where(np.abs(index - nearest) < 1e-6, nearest, index)
    return linear_matrix(len(stack.order), snapped)


def _moved(
    slice_rows: NDArray[np.generic], shift_px: NDArray[np.float64], rows: int, columns: int
) -> NDArray[np.float32]:
    """A slice [row, column] that begins at (column, row) `shift_px` of the grid's plane; air around it."""
    height, width = slice_rows.shape
    across = linear_matrix(width, np.arange(columns) - shift_px[0]).astype(np.float32)
    down = linear_matrix(height, np.arange(rows) - shift_px[1]).astype(np.float32)
    above_air = slice_rows.astype(np.float32) - np.float32(AIR_HU)
    moved: NDArray[np.float32] = down @ above_air @ across.T + np.float32(AIR_HU)
    return moved
