"""Packing a scan and its maps as text that a browser unpacks without a library.

Everything is a byte string deflated (RFC 1950, the browser's DecompressionStream "deflate") and base64-coded.
A scan is stored as differences between neighbouring voxels, a map as its float32 values; both with the bytes
of equal significance side by side, which deflates better.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine, reorient
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.volume import Volume

MOST_VOXELS = 64_000_000
"""Most voxels of the embedded scan, so that a browser has room for them."""
_SIDES = (512, 256, 192, 128, 96, 64)
_STEPS_HU = (1, 2, 4, 8)
_FULL_STEPS_HU = _STEPS_HU[:3]
_SAMPLED_SLICES = 8
_DOUBT = 1.15
_INT16 = np.iinfo(np.int16)


class PageTooLarge(ValueError):
    """What is to be embedded does not fit, however coarsely."""


@dataclass(frozen=True, eq=False)
class PackedScan:
    """A scan as text. Index order (z, y, x): z runs to the feet, y to the back, x to the patient's left.

    `affine_ras`: index (z, y, x) to RAS mm. Each embedded voxel is the mean of `factors_zyx` voxels of the
    scan (at the far ends of those that are left), as a multiple of `step_hu`. `exact`: every voxel holds the
    scan's own HU.
    """

    text: str
    shape_zyx: tuple[int, int, int]
    affine_ras: Affine
    factors_zyx: tuple[int, int, int]
    step_hu: int
    exact: bool

    def describe(self) -> dict[str, object]:
        """What the page needs to know to unpack and place the scan."""
        return {
            "shape": list(self.shape_zyx),
            "affine": self.affine_ras.tolist(),
            "factors": list(self.factors_zyx),
            "step": self.step_hu,
            "exact": self.exact,
        }


def pack_scan(volume: Volume, budget: int) -> PackedScan:
    """The scan in at most `budget` characters, as fine as that allows: first coarser HU, then larger voxels.

    Forms that a sample of their slices shows to be far too large are not tried.

    Raises PageTooLarge when even the coarsest form does not fit.
    """
    order, grid = reorient(volume.grid, "IPL")
    hu_zyx = order.apply(volume.array_ijk)
    smallest = 0
    for factors, step in _reductions(hu_zyx.shape):
        if _estimate(hu_zyx, factors, step) > _DOUBT * budget:
            continue
        stored = _reduced(hu_zyx, factors, step)
        text = _scan_text(stored)
        smallest = len(text)
        if smallest <= budget:
            offset = [(f - 1) / 2 for f in factors]
            affine = grid.affine_ras @ affines.scaling([float(f) for f in factors], offset)
            exact = factors == (1, 1, 1) and step == 1 and bool(np.array_equal(stored, hu_zyx))
            z, y, x = stored.shape
            return PackedScan(text, (z, y, x), affine, factors, step, exact)
    smallest = smallest or round(_estimate(hu_zyx, factors, step))
    raise PageTooLarge(
        f"the scan needs {smallest} characters at its coarsest, more than the {budget} there are"
    )


def _reductions(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, int, int], int]]:
    """Pairs (voxels averaged per axis, HU step), finest first: all voxels, then larger ones."""
    whole = (1, 1, 1)
    candidates = list(dict.fromkeys([whole, *(tuple(-(-n // side) for n in shape) for side in _SIDES)]))
    for factors in candidates:
        z, y, x = factors
        if np.prod([-(-n // f) for n, f in zip(shape, factors, strict=True)]) <= MOST_VOXELS:
            for step in _FULL_STEPS_HU if factors == whole and len(candidates) > 1 else _STEPS_HU:
                yield (z, y, x), step


def _reduced(hu_zyx: Voxels, factors: tuple[int, int, int], step: int) -> NDArray[np.int16]:
    """Means of blocks as multiples of `step` HU."""
    steps = np.rint(block_mean(hu_zyx, factors) / np.float32(step))
    stored: NDArray[np.int16] = np.clip(steps, _INT16.min, _INT16.max).astype(np.int16)
    return stored


def _estimate(hu_zyx: Voxels, factors: tuple[int, int, int], step: int) -> float:
    """About how many characters the reduced scan takes, from a few of its slices spread over the whole."""
    slabs = -(-hu_zyx.shape[0] // factors[0])
    chosen = np.unique(np.linspace(0, slabs - 1, _SAMPLED_SLICES).astype(int))
    rows = (chosen[:, None] * factors[0] + np.arange(factors[0])).ravel()
    sampled = _reduced(hu_zyx[rows[rows < hu_zyx.shape[0]]], factors, step)
    return float(len(_scan_text(sampled)) * slabs / len(chosen))


def _scan_text(stored: NDArray[np.int16]) -> str:
    return _as_text(_byte_planes(_differences(stored)), strategy=zlib.Z_RLE)


def block_mean(array: Voxels, factors: tuple[int, int, int]) -> NDArray[np.float32]:
    """Means of blocks of `factors` values, in float32; a last block that is short is the mean of its rest."""
    result = np.asarray(array, dtype=np.float32)
    for axis, factor in enumerate(factors):
        if factor > 1:
            size = result.shape[axis]
            starts = np.arange(0, size, factor)
            counts = np.minimum(starts + factor, size) - starts
            sums = np.add.reduceat(result, starts, axis=axis)
            result = (sums / counts.reshape([-1 if a == axis else 1 for a in range(3)])).astype(np.float32)
    return result


@dataclass(frozen=True, eq=False)
class PackedMaps:
    """The maps [L, S, h, w] of one method as text.

    `bits` 32: float32, bit for bit; 16 or 8: whole multiples of `steps` (one per label, largest value / 32767 or
    127).
    """

    text: str
    shape: tuple[int, ...]
    bits: int
    steps: tuple[float, ...] | None

    def describe(self) -> dict[str, object]:
        """What the page needs to know to unpack the maps."""
        return {"shape": list(self.shape), "bits": self.bits, "steps": self.steps}


def pack_maps(cams: Sequence[NDArray[np.float32]], budget: int) -> list[PackedMaps]:
    """The maps [L, S, h, w] of each method in at most `budget` characters together, as exact as that allows.

    Raises PageTooLarge when they do not fit with 8 bits a value.
    """
    size = 0
    for bits in (32, 16, 8):
        packed = [_pack_map(values, bits) for values in cams]
        size = sum(len(one.text) for one in packed)
        if size <= budget:
            return packed
    raise PageTooLarge(f"the maps need {size} characters at their coarsest, more than the {budget} there are")


def _pack_map(cams_lsyx: NDArray[np.float32], bits: int) -> PackedMaps:
    steps = None
    stored: Voxels = np.ascontiguousarray(cams_lsyx, dtype="<f4")
    if bits < 32:
        largest = np.abs(cams_lsyx).max(axis=(1, 2, 3)).astype(np.float64)
        step = np.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)
        stored = np.rint(cams_lsyx / step[:, None, None, None]).astype(f"<i{bits // 8}")
        steps = tuple(step.tolist())
    text = _as_text(_byte_planes(stored), strategy=zlib.Z_DEFAULT_STRATEGY)
    return PackedMaps(text, cams_lsyx.shape, bits, steps)


def _differences(values: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Each value minus the one before (modulo 2^16), folded so that small ones of either sign stay small."""
    steps = np.diff(values.ravel(), prepend=np.int16(0))
    return ((steps << 1) ^ (steps >> 15)).astype("<u2")


def _byte_planes(values: Voxels) -> bytes:
    """The lowest bytes of all values, then the next, ..., of a little-endian array."""
    together = np.ascontiguousarray(values).view(np.uint8)
    return together.reshape(-1, values.dtype.itemsize).T.tobytes()


def _as_text(data: bytes, *, strategy: int) -> str:
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return base64.b64encode(packer.compress(data) + packer.flush()).decode("ascii")
