"""What every reader does with voxel values and geometry: one rule each, each correction warned of."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.warning import Warning

AIR_HU = -1024
MIN_AXIS = 2

_SPACING_MM = (0.01, 100.0)
_EXTENT_MM = 5000.0
_FARTHEST_MM = 100_000.0
_MOST_NONFINITE = 0.75
_HIGHEST_AIR_HU = -500.0
_POSSIBLE_HU = (-10_000.0, 30_000.0)
_SHEAR_COSINE = 0.01
_BLOCK = 1 << 18


def check_shape(shape: tuple[int, ...], name: str, max_voxels: int, least_axis: int = MIN_AXIS) -> None:
    """Refuse what is not a 3-D volume, has an axis below `least_axis` or exceeds `max_voxels`; takes no memory."""
    if len(shape) != 3:
        raise ScanError(
            f"{name} has {len(shape)} dimensions ({'x'.join(map(str, shape))}), expected a 3-D volume.",
            hint="Give the whole scan as one 3-D file.",
            code="not-3d",
        )
    if min(shape) < least_axis:
        raise ScanError(
            f"{name} is {'x'.join(map(str, shape))} voxels, expected at least {least_axis} along each axis.",
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


def check_geometry(affine_ras: Affine, shape: tuple[int, ...], name: str) -> tuple[Warning, ...]:
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
    farthest = float(np.abs(affine_ras[:3, 3]).max())
    if farthest > _FARTHEST_MM:
        raise _bad_affine(
            name,
            f"puts the first voxel {farthest:.4g} mm from the origin, expected at most {_FARTHEST_MM:g} mm",
        )
    shear = affines.shear_cosine(affine_ras)
    if shear <= _SHEAR_COSINE:
        return ()
    angle = 90.0 - np.degrees(np.arccos(shear))
    return (Warning("sheared", f"the axes are {angle:.1f} degrees away from right angles."),)


def _bad_affine(name: str, what: str) -> ScanError:
    return ScanError(
        f"{name}: the affine {what}.", hint="Write the file again with a correct geometry.", code="bad-affine"
    )


def padded_to_air(array: Voxels, declared: NDArray[np.bool_] | None = None) -> tuple[Voxels, int]:
    """HU of which all that is below -1024, as no matter is, or `declared` as padding is -1024; and how many voxels.

    Padding is not tissue, and is air before anything is resampled. The array itself where there is none.
    """
    if declared is None and (array.size == 0 or not array.min() < AIR_HU):
        return array, 0
    padding = array < AIR_HU if declared is None else (array < AIR_HU) | declared
    count = int(np.count_nonzero(padding))
    return (np.where(padding, array.dtype.type(AIR_HU), array), count) if count else (array, 0)


def padding_warnings(count: int) -> tuple[Warning, ...]:
    """The warning of `padded_to_air` for the voxels of a whole volume; none for no voxels."""
    if not count:
        return ()
    return (
        Warning(
            "pixel-padding",
            f"{count} voxels of padding (declared, or below {AIR_HU} HU) were set to {AIR_HU} HU.",
        ),
    )


def to_hu(array: Voxels, name: str) -> tuple[Voxels, tuple[Warning, ...]]:
    """HU values as int16 where that is exact, else float32, and what was corrected or is doubtful about them.

    Voxels that are not finite, and padding, become air (-1024). Raises ScanError for a constant volume and for
    one of which more than 75 % is not finite. An int16 array in native byte order without padding is returned
    as it is, not copied.
    """
    hu, nonfinite, padded = _exact(array)
    warnings = []
    if nonfinite:
        share = nonfinite / hu.size
        if nonfinite == hu.size:
            raise _constant(f"{name} holds no finite voxel.")
        if share > _MOST_NONFINITE:
            raise ScanError(
                f"{name}: {nonfinite} of {hu.size} voxels are not finite, "
                f"expected at most {_MOST_NONFINITE:.0%} of them.",
                hint="Write the file again with the whole image.",
                code="nonfinite-voxels",
            )
        warnings.append(
            Warning(
                "nonfinite-voxels",
                f"{nonfinite} voxels ({100 * share:.2g} %) are not finite and count as air ({AIR_HU} HU).",
            )
        )
    low, high = float(hu.min()), float(hu.max())
    if low == high:
        raise _constant(f"{name} is constant: every voxel is {low:g}.")
    return hu, (*warnings, *padding_warnings(padded), *doubts(lowest_of_own(hu, nonfinite + padded), high))


def lowest_of_own(hu: Voxels, replaced: int) -> float:
    """The smallest value that the voxels had themselves, where `replaced` of them were set to -1024; inf if none has.

    Air put in the place of padding says nothing of the unit of the others.
    """
    if replaced == 0 or np.count_nonzero(hu == AIR_HU) > replaced:
        return float(hu.min())
    own = hu[hu != AIR_HU]
    return float(own.min()) if own.size else math.inf


def _constant(what: str) -> ScanError:
    return ScanError(what, hint="Give a scan with an image in it.", code="constant")


def doubts(low: float, high: float) -> tuple[Warning, ...]:
    """Warnings that values from `low` to `high` may not be HU."""
    warnings = []
    if low > _HIGHEST_AIR_HU:
        warnings.append(
            Warning("values-not-hu", f"the smallest value is {low:g}; a CT in HU holds air, at about -1000.")
        )
    if low < _POSSIBLE_HU[0] or high > _POSSIBLE_HU[1]:
        warnings.append(
            Warning("values-not-hu", f"the values run from {low:g} to {high:g}, beyond what HU can be.")
        )
    return tuple(warnings)


def _exact(array: Voxels) -> tuple[Voxels, int, int]:
    """The array as int16 if nothing is lost, else as float32; how many voxels were not finite, how many padding."""
    flat = array.ravel(order="K")
    if not np.shares_memory(flat, array):
        array = np.ascontiguousarray(array)
        flat = array.ravel()
    if array.dtype == np.int16 and array.dtype.isnative and not array.min() < AIR_HU:
        return array, 0, 0
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    values, nonfinite, padded = _narrowed(flat)
    return values.reshape(array.shape, order=order), nonfinite, padded


def _narrowed(flat: Voxels) -> tuple[Voxels, int, int]:
    """`_exact` of a 1-D array, block by block so that each stays in the processor's cache."""
    result: Voxels = np.empty(flat.size, dtype=np.int16)
    nonfinite = padded = 0
    for start in range(0, flat.size, _BLOCK):
        block, strange = _finite(flat[start : start + _BLOCK])
        block, padding = padded_to_air(block)
        nonfinite, padded = nonfinite + strange, padded + padding
        if result.dtype == np.int16:
            with np.errstate(invalid="ignore"):
                whole = block.astype(np.int16, copy=False)
            if whole is block or np.array_equal(whole, block):
                result[start : start + block.size] = whole
                continue
            result = _widened(result, start)
        result[start : start + block.size] = block
    return result, nonfinite, padded


def _finite(block: Voxels) -> tuple[Voxels, int]:
    """The block with air for what is not finite, and how many voxels that are; floats become float32."""
    if block.dtype.kind in "iu":
        return block.astype(block.dtype.newbyteorder("="), copy=False), 0
    with np.errstate(over="ignore", invalid="ignore"):
        values = block.astype(np.float32, copy=False)
    finite = np.isfinite(values)
    if finite.all():
        return values, 0
    return np.where(finite, values, np.float32(AIR_HU)), int(values.size - np.count_nonzero(finite))


def _widened(narrow: Voxels, filled: int) -> NDArray[np.float32]:
    """The array as float32, with its first `filled` values."""
    wide = np.empty(narrow.size, dtype=np.float32)
    wide[:filled] = narrow[:filled]
    return wide
