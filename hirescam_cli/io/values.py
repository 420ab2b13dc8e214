"""What every reader does with voxel values: to HU in the smallest exact type, each correction warned of."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines

AIR_HU = -1024
MIN_AXIS = 2

_SPACING_MM = (0.01, 100.0)
_EXTENT_MM = 5000.0
_HIGHEST_AIR_HU = -500.0
_POSSIBLE_HU = (-10_000.0, 30_000.0)
_SHEAR_COSINE = 0.01
_BLOCK = 1 << 18


def check_shape(shape: tuple[int, ...], name: str, max_voxels: int) -> None:
    """Refuse what is no 3-D volume, has an axis of one voxel or exceeds `max_voxels`; takes no memory."""
    if len(shape) != 3:
        raise ScanError(
            f"{name} has {len(shape)} dimensions ({'x'.join(map(str, shape))}), expected a 3-D volume.",
            hint="Give the whole scan as one 3-D file.",
            code="not-3d",
        )
    if min(shape) < MIN_AXIS:
        raise ScanError(
            f"{name} is {'x'.join(map(str, shape))} voxels, expected at least {MIN_AXIS} along each axis.",
            hint="Give the whole scan, not a single slice.",
            code="not-3d",
        )
    voxels = shape[0] * shape[1] * shape[2]
    if voxels > max_voxels:
        raise ScanError(
            f"{name} holds {'x'.join(map(str, shape))} = {voxels} voxels, expected at most {max_voxels}.",
            hint="If the scan is really that large, raise --max-voxels.",
            code="too-many-voxels",
        )


def check_geometry(affine_ras: Affine, shape: tuple[int, ...], name: str) -> tuple[str, ...]:
    """Warnings about an affine [4, 4] (to RAS mm); ScanError if no scan of a person can lie so."""
    if not np.isfinite(affine_ras).all():
        raise _bad_affine(name, "holds values that are not finite")
    spacing = affines.spacing_mm(affine_ras)
    text = " x ".join(f"{value:.4g}" for value in spacing)
    if not all(_SPACING_MM[0] <= value <= _SPACING_MM[1] for value in spacing):
        raise _bad_affine(
            name, f"gives a spacing of {text} mm, expected {_SPACING_MM[0]:g} to {_SPACING_MM[1]:g} mm"
        )
    if abs(np.linalg.det(affines.directions(affine_ras))) < 1e-2:
        raise _bad_affine(name, "is singular: two axes run the same way")
    if max(value * n for value, n in zip(spacing, shape, strict=True)) > _EXTENT_MM:
        raise _bad_affine(
            name, f"gives a spacing of {text} mm and so a scan longer than {_EXTENT_MM / 1000:g} m"
        )
    shear = affines.shear_cosine(affine_ras)
    if shear <= _SHEAR_COSINE:
        return ()
    angle = 90.0 - np.degrees(np.arccos(shear))
    return (f"sheared: the axes are {angle:.1f} degrees away from right angles.",)


def _bad_affine(name: str, what: str) -> ScanError:
    return ScanError(
        f"{name}: the affine {what}.", hint="Write the file again with a correct geometry.", code="bad-affine"
    )


def to_hu(array: NDArray[Any], name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """HU values as int16 where that is exact, else float32, and what was corrected or is doubtful about them.

    NaN and infinite voxels become air (-1024). Raises ScanError for a constant volume. An int16 array in
    native byte order is returned as it is, not copied.
    """
    hu, bad = _exact(array)
    warnings = []
    if bad:
        share = 100.0 * bad / hu.size
        warnings.append(
            f"nonfinite-voxels: {bad} voxels ({share:.2g} %) are not finite and count as air ({AIR_HU} HU)."
        )
    low, high = float(hu.min()), float(hu.max())
    if low == high:
        nothing = bad == hu.size
        raise ScanError(
            f"{name} holds no finite voxel." if nothing else f"{name} is constant: every voxel is {low:g}.",
            hint="Give a scan with an image in it.",
            code="constant",
        )
    return hu, (*warnings, *doubts(low, high))


def doubts(low: float, high: float) -> tuple[str, ...]:
    """Warnings that values from `low` to `high` may be no HU."""
    warnings = []
    if low > _HIGHEST_AIR_HU:
        warnings.append(
            f"values-not-hu: the smallest value is {low:g}; a CT in HU holds air, at about -1000."
        )
    if low < _POSSIBLE_HU[0] or high > _POSSIBLE_HU[1]:
        warnings.append(f"values-not-hu: the values run from {low:g} to {high:g}, beyond what HU can be.")
    return tuple(warnings)


def _exact(array: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The array as int16 if nothing is lost, else as float32; and how many voxels were not finite."""
    if array.dtype.kind in "iu":
        limits = np.iinfo(np.int16)
        if np.can_cast(array.dtype, np.int16) or (array.min() >= limits.min and array.max() <= limits.max):
            return array.astype(np.int16, copy=False), 0
        return array.astype(np.float32), 0
    flat = array.ravel(order="K")
    if not np.shares_memory(flat, array):
        array = np.ascontiguousarray(array)
        flat = array.ravel()
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    values, bad = _narrowed(flat)
    return values.reshape(array.shape, order=order), bad


def _narrowed(flat: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """`_exact` of a 1-D array of floats, block by block so that each stays in the processor's cache."""
    result: NDArray[Any] = np.empty(flat.size, dtype=np.int16)
    bad = 0
    for start in range(0, flat.size, _BLOCK):
        block, strange = _finite(flat[start : start + _BLOCK])
        bad += strange
        if result.dtype == np.int16:
            with np.errstate(invalid="ignore"):
                whole = block.astype(np.int16)
            if np.array_equal(whole, block):
                result[start : start + block.size] = whole
                continue
            result = _widened(result, start)
        result[start : start + block.size] = block
    return result, bad


def _finite(block: NDArray[Any]) -> tuple[NDArray[np.float32], int]:
    """The block as float32 with air for what is not finite, and how many voxels that are."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = block.astype(np.float32, copy=False)
    finite = np.isfinite(values)
    if finite.all():
        return values, 0
    return np.where(finite, values, np.float32(AIR_HU)), int(values.size - np.count_nonzero(finite))


def _widened(narrow: NDArray[Any], filled: int) -> NDArray[np.float32]:
    """The array as float32, with its first `filled` values."""
    wide = np.empty(narrow.size, dtype=np.float32)
    wide[:filled] = narrow[:filled]
    return wide
