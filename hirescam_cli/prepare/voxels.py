"""Taking the voxels of a resampled scan: separable interpolation in slabs, on several threads.

Only the voxels that are wanted are computed, so resampling, rounding and cropping can be done in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry.resample import (
    Banded,
    Matrix,
    apply_along,
    area_matrix,
    banded,
    bspline_matrix,
    linear_matrix,
    windows,
)
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.threads import in_threads, shares

_SLAB = 4
_BLOCKS = 3
_DEPTH = 96

Finish = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Line:
    """One axis of a resampled scan: its voxel n is centred at `ratio` * n + `shift` of the scan's own.

    `held`: beyond the outer voxels their values hold; else there is 0 beyond their outer faces.
    """

    ratio: float
    shift: float = 0.0
    held: bool = True


def take(
    array: Voxels,
    lines: Sequence[Line],
    kept: Sequence[NDArray[np.intp]],
    interpolation: str,
    finish: Finish | None = None,
    dtype: type[np.float32 | np.int16] = np.float32,
) -> NDArray[np.float32 | np.int16]:
    """The voxels `kept` (index per axis) of `array` [i, j, k] resampled along `lines`.

    `interpolation`: "bspline", "linear", "nearest" or "area". `finish`: what is done to the values, slab by slab and in
    place, before they are stored as `dtype`; it does not see what lies beyond a line that is not held.
    """
    z, y, x = (
        _matrix(size, line, rows, interpolation)
        for size, line, rows in zip(array.shape, lines, kept, strict=True)
    )
    made = np.empty if all(line.held for line in lines) else np.zeros
    result = made([len(rows) for rows in kept], dtype=dtype)
    steps = _steps(len(array), z)
    planes = _Planes(array, y, x, (max(c.stop - c.start for _, c, _ in steps), *result.shape[1:]))
    for rows, columns, weights in steps:
        window, target = planes.window(columns), result[rows]

        def through(
            starts: Sequence[int],
            window: NDArray[np.float32] = window,
            weights: Banded | None = weights,
            target: NDArray[np.float32 | np.int16] = target,
        ) -> None:
            for start in starts:
                slab = window[:, start : start + _SLAB]
                hu = slab if weights is None else apply_along(slab, weights, 0)
                target[:, start : start + _SLAB] = hu if finish is None else finish(hu)

        in_threads(through, shares(range(0, result.shape[1], _SLAB)))
    return result


def _matrix(size: int, line: Line, rows: NDArray[np.intp], interpolation: str) -> Banded | None:
    """Weights that give resampled voxels `rows` of an axis of `size` voxels; None where nothing changes."""
    if abs(line.ratio - 1.0) < 1e-6 and line.shift == 0 and rows.size == size and rows[0] == 0:
        return None
    positions: NDArray[np.float64] = rows.astype(np.float64) * line.ratio + line.shift
    weights = _weights(size, positions, line.ratio, interpolation)
    if not line.held:
        # A centre on the last face is beyond it, as ITK counts.
        weights[(positions < -0.5 - 1e-9) | (positions > size - 0.5 - 1e-9)] = 0.0
    return banded(weights)


def _weights(size: int, positions: NDArray[np.float64], width: float, interpolation: str) -> Matrix:
    if interpolation == "nearest":
        return np.eye(size)[np.clip(np.rint(positions).astype(np.intp), 0, size - 1)]
    if interpolation == "bspline":
        return bspline_matrix(size, positions)
    if interpolation == "area":
        return area_matrix(size, positions, width)
    return linear_matrix(size, np.clip(positions, 0.0, size - 1.0))


def _steps(size: int, z: Banded | None) -> list[tuple[slice, slice, Banded | None]]:
    """Resampled slices, the slices of `size` that they need, and the weights between: few slices at a time."""
    if z is not None:
        return list(windows(z, _BLOCKS))
    depth = [slice(start, min(start + _DEPTH, size)) for start in range(0, size, _DEPTH)]
    return [(rows, rows, None) for rows in depth]


class _Planes:
    """Slices resampled in their plane, in float32, of which `shape[0]` are held: a window that moves down a scan."""

    def __init__(self, array: Voxels, y: Banded | None, x: Banded | None, shape: tuple[int, ...]) -> None:
        self._array, self._y, self._x = array, y, x
        self._held = np.empty(shape, dtype=np.float32)
        self._there = slice(0, 0)

    def window(self, wanted: slice) -> NDArray[np.float32]:
        """The slices `wanted`, none of which lies above those of the call before; valid until the next call."""
        begin, known = wanted.start, min(max(wanted.start, self._there.stop), wanted.stop)
        for n in range(begin, known):
            self._held[n - begin] = self._held[n - self._there.start]
        self._there = wanted
        in_threads(self._fill, shares(range(known, wanted.stop, _SLAB)))
        return self._held[: wanted.stop - begin]

    def _fill(self, starts: Sequence[int]) -> None:
        _, height, width = self._array.shape
        slab = np.empty((_SLAB, height, width), dtype=np.float32)
        across = np.empty((_SLAB, height, self._held.shape[2]), dtype=np.float32)
        for start in starts:
            stop = min(start + _SLAB, self._there.stop)
            count, source = stop - start, slab[: stop - start]
            np.copyto(source, self._array[start:stop], casting="same_kind")
            target = self._held[start - self._there.start : stop - self._there.start]
            if self._x is not None:
                source = apply_along(source, self._x, 2, across[:count])
            if self._y is not None:
                apply_along(source, self._y, 1, target)
            else:
                target[:] = source
