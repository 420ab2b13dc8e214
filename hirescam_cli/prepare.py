"""From a volume in HU to what the network is fed: reorient, resample, clip, round, pad and crop.

The steps and their order are those of RAD-ChestCT's published preparation, with settings taken from the
model. Axes of the result are z (superior to inferior), y (anterior to posterior), x (patient right to left).
All of it is one affine: `ModelInput.affine_ras` says where each input voxel lies, so nothing has to be undone
later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine, Grid, PadCrop, pad_crop, reorient, resampled
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import (
    Banded,
    apply_along,
    banded,
    bspline_matrix,
    linear_matrix,
    windows,
)
from hirescam_cli.model.spec import Preparation
from hirescam_cli.threads import in_threads, shares
from hirescam_cli.volume import Volume

NETWORK_AXES = "IPL"
OBLIQUE_WARNING_DEGREES = 10.0
_SLAB = 4
_BLOCKS = 3
_DEPTH = 96


@dataclass(frozen=True)
class Coverage:
    """`scan_seen_fraction`: share of the scan's voxels inside the network's input.

    `padding_fraction`: share of the input's voxels that are padding.
    """

    scan_seen_fraction: float
    padding_fraction: float


@dataclass(frozen=True, eq=False)
class ModelInput:
    """A prepared scan: `hu_zyx` int16 [slices, side, side] in whole HU, and where it lies.

    `affine_ras`: its index to RAS mm. `content_zyx`: per axis the index range [start, stop) that holds scan,
    the rest is padding. `warnings` as in `Provenance`.
    """

    hu_zyx: NDArray[np.int16]
    affine_ras: Affine
    content_zyx: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    coverage: Coverage
    warnings: tuple[str, ...] = ()

    def padding_groups(self, slices_per_group: int) -> NDArray[np.bool_]:
        """For each group of consecutive slices, whether it holds nothing but padding."""
        start, stop = self.content_zyx[0]
        first = np.arange(self.hu_zyx.shape[0] // slices_per_group) * slices_per_group
        return (first + slices_per_group <= start) | (first >= stop)


@dataclass(frozen=True)
class _Layout:
    """The chain of grids from a scan to the network's input."""

    oriented: Grid
    resampled: Grid
    axes: tuple[PadCrop, PadCrop, PadCrop]
    target: Grid


def _layout(grid: Grid, preparation: Preparation) -> _Layout:
    _, oriented = reorient(grid, NETWORK_AXES)
    fine = resampled(oriented, preparation.spacing_mm)
    axes, target = pad_crop(fine, preparation.shape_zyx)
    return _Layout(oriented, fine, axes, target)


def coverage(grid: Grid, preparation: Preparation) -> Coverage:
    """What the network would see of a scan on `grid`, without reading a voxel."""
    layout = _layout(grid, preparation)
    seen = 1.0
    to_target = np.linalg.inv(layout.target.affine_ras) @ layout.oriented.affine_ras
    for axis, size in enumerate(layout.oriented.shape):
        position = to_target[axis, axis] * np.arange(size) + to_target[axis, 3]
        inside = (position >= -0.5 - 1e-6) & (position <= layout.target.shape[axis] - 0.5 + 1e-6)
        seen *= float(inside.mean())
    filled = np.prod([(a.stop - a.start) / a.target for a in layout.axes])
    return Coverage(scan_seen_fraction=seen, padding_fraction=float(1.0 - filled))


def prepare(volume: Volume, preparation: Preparation) -> ModelInput:
    """Prepare a scan for a network.

    Raises ScanError for an affine that is singular.
    """
    try:
        order, _ = reorient(volume.grid, NETWORK_AXES)
    except ValueError as error:
        raise ScanError(
            f"The scan's affine is unusable: {error}.",
            hint="Correct the orientation in the file's header.",
            code="affine-singular",
            stage="prepare",
        ) from error
    layout = _layout(volume.grid, preparation)
    array_zyx = order.apply(volume.array_ijk)
    kept = [np.arange(a.start + a.shift, a.stop + a.shift) for a in layout.axes]
    content = _resample(array_zyx, layout, kept, preparation)
    hu = content
    if any(a.start > 0 or a.stop < a.target for a in layout.axes):
        hu = np.full(
            preparation.shape_zyx, _padding_value(array_zyx, content, layout, preparation), dtype=np.int16
        )
        hu[tuple(slice(a.start, a.stop) for a in layout.axes)] = content
    return ModelInput(
        hu_zyx=hu,
        affine_ras=layout.target.affine_ras,
        content_zyx=tuple((a.start, a.stop) for a in layout.axes),  # type: ignore[arg-type]
        coverage=coverage(volume.grid, preparation),
        warnings=_warnings(volume),
    )


def _warnings(volume: Volume) -> tuple[str, ...]:
    angle = affines.obliquity_degrees(volume.affine_ras)
    if angle <= OBLIQUE_WARNING_DEGREES:
        return ()
    return (
        f"oblique: the scan is oblique by {angle:.1f} degrees; the network sees it along its nearest axes, "
        "not along the patient's.",
    )


def _matrix(size: int, ratio: float, rows: NDArray[np.intp], interpolation: str) -> Banded | None:
    """Weights that give resampled voxels `rows` of an axis of `size` voxels; None where nothing changes."""
    if abs(ratio - 1.0) < 1e-6 and rows.size == size and rows[0] == 0:
        return None
    if interpolation == "bspline":
        return banded(bspline_matrix(size, rows * ratio))
    return banded(linear_matrix(size, np.minimum(rows * ratio, size - 1.0)))


def _resample(
    array_zyx: NDArray[Any], layout: _Layout, kept: Sequence[NDArray[np.intp]], preparation: Preparation
) -> NDArray[np.int16]:
    """The voxels `kept` (index per axis) of the resampled volume in whole HU; slabs go to threads."""
    ratios = [n / o for n, o in zip(layout.resampled.spacing_mm, layout.oriented.spacing_mm, strict=True)]
    z, y, x = (
        _matrix(size, ratio, rows, preparation.interpolation)
        for size, ratio, rows in zip(array_zyx.shape, ratios, kept, strict=True)
    )
    result = np.empty([len(rows) for rows in kept], dtype=np.int16)
    steps = _steps(len(array_zyx), z)
    planes = _Planes(array_zyx, y, x, (max(c.stop - c.start for _, c, _ in steps), *result.shape[1:]))
    for rows, columns, weights in steps:
        window, target = planes.window(columns), result[rows]

        def through(
            starts: Sequence[int],
            window: NDArray[np.float32] = window,
            weights: Banded | None = weights,
            target: NDArray[np.int16] = target,
        ) -> None:
            for start in starts:
                slab = window[:, start : start + _SLAB]
                hu = slab if weights is None else apply_along(slab, weights, 0)
                target[:, start : start + _SLAB] = _whole_hu(hu, preparation)

        in_threads(through, shares(range(0, result.shape[1], _SLAB)))
    return result


def _steps(size: int, z: Banded | None) -> list[tuple[slice, slice, Banded | None]]:
    """Resampled slices, the slices of `size` that they need, and the weights between: few slices at a time."""
    if z is not None:
        return list(windows(z, _BLOCKS))
    depth = [slice(start, min(start + _DEPTH, size)) for start in range(0, size, _DEPTH)]
    return [(rows, rows, None) for rows in depth]


def _whole_hu(hu: NDArray[np.float32], preparation: Preparation) -> NDArray[np.float32]:
    """Clip and round in place."""
    np.clip(hu, *preparation.hu_clip, out=hu)
    return np.rint(hu, out=hu)


class _Planes:
    """Slices resampled in their plane, in float32, of which `shape[0]` are held: a window that moves down a scan."""

    def __init__(
        self, array_zyx: NDArray[Any], y: Banded | None, x: Banded | None, shape: tuple[int, ...]
    ) -> None:
        self._array, self._y, self._x = array_zyx, y, x
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


def _padding_value(
    array_zyx: NDArray[Any], content: NDArray[np.int16], layout: _Layout, preparation: Preparation
) -> int:
    """Minimum of the whole resampled volume, the part that is cropped away included."""
    low = int(content.min())
    if low <= preparation.hu_clip[0] or content.size == np.prod(layout.resampled.shape):
        return low
    everything = [np.arange(n) for n in layout.resampled.shape]
    return int(_resample(array_zyx, layout, everything, preparation).min())
