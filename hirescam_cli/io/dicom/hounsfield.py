"""From raw pixels to Hounsfield units: stored bits, padding, rescale, and what is odd about the result."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.io.dicom.headers import PixelFormat, Rescale
from hirescam_cli.io.values import AIR_HU, doubts, lowest_of_own, padded_to_air, padding_warnings
from hirescam_cli.warning import Warning


@dataclass
class Tally:
    """What was done to a volume's voxels on their way to HU; `lowest_own`: of those that are not padding."""

    padded: int = 0
    lowest: float = math.inf
    highest: float = -math.inf
    lowest_own: float = math.inf
    signs: int = 0

    def add(self, other: Tally) -> None:
        """Take in what was done to other voxels of the same volume."""
        self.padded += other.padded
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)
        self.lowest_own = min(self.lowest_own, other.lowest_own)
        self.signs += other.signs

    def warnings(self, rescales: set[Rescale]) -> list[Warning]:
        """The corrections made, and the signs that the values may not be HU."""
        notes = []
        if self.signs:
            notes.append(
                Warning(
                    "pixel-sign", "pixels marked as unsigned are signed in their codestream; read as signed."
                )
            )
        notes += padding_warnings(self.padded)
        if any(slope is None or intercept is None for slope, intercept, _ in rescales):
            notes.append(
                Warning(
                    "no-rescale",
                    "rescale slope or intercept missing; 1 and 0 were used, values may not be HU.",
                )
            )
        if any(kind not in (None, "HU") for _, _, kind in rescales):
            notes.append(Warning("rescale-type", "the rescale type is not HU; values may not be HU."))
        return [*notes, *doubts(self.lowest_own, self.highest)]


def linear_rescale(rescale: Rescale, name: str) -> tuple[float, float]:
    """Slope and intercept, 1 and 0 where absent. Raises ScanError "dicom-rescale" for unusable ones."""
    slope = 1.0 if rescale[0] is None else rescale[0]
    intercept = 0.0 if rescale[1] is None else rescale[1]
    usable = (
        math.isfinite(slope)
        and math.isfinite(intercept)
        and 1e-6 <= abs(slope) <= 1e6
        and abs(intercept) <= 1e6
    )
    if not usable:
        raise ScanError(
            f"{name} has a rescale slope or intercept that is not a usable number.",
            code="dicom-rescale",
            hint="Fetch the file again from its source.",
        )
    return slope, intercept


def is_whole(rescale: tuple[float, float]) -> bool:
    """Whether whole stored values become whole HU."""
    return rescale[0].is_integer() and rescale[1].is_integer() and abs(rescale[0]) <= 256


def hounsfield(
    raw: NDArray[np.generic], pixel_format: PixelFormat, rescale: tuple[float, float], tally: Tally
) -> NDArray[np.generic]:
    """HU [row, column] of a raw frame: the smallest integers from int16 on that hold them where slope and
    intercept are whole, else float32. May be a view of `raw`.

    Padding is masked in the stored values and becomes air (-1024 HU). So does anything below -1024 HU, which
    no matter has: padding that no tag declares (-2000, -3024). MONOCHROME1 tells a viewer to invert; HU stay
    as they are.
    """
    stored = stored_values(raw, pixel_format)
    padding = padding_mask(raw, stored, pixel_format)
    hu: Voxels
    if is_whole(rescale):
        hu, lowest, highest = _whole_hounsfield(stored, int(rescale[0]), int(rescale[1]))
    else:
        hu = (stored * rescale[0] + rescale[1]).astype(np.float32)
        lowest, highest = float(hu.min()), float(hu.max())
    hu, count = padded_to_air(hu, padding) if padding is not None or lowest < AIR_HU else (hu, 0)
    own = lowest
    if count:
        tally.padded += count
        lowest, highest, own = float(hu.min()), float(hu.max()), lowest_of_own(hu, count)
    tally.lowest, tally.highest = min(tally.lowest, lowest), max(tally.highest, highest)
    tally.lowest_own = min(tally.lowest_own, own)
    return hu if hu.dtype.kind == "f" else hu.astype(_narrowest(lowest, highest), copy=False)


def _whole_hounsfield(stored: NDArray[np.integer], slope: int, intercept: int) -> tuple[Voxels, float, float]:
    """slope * stored + intercept in integers wide enough for every step, its minimum and its maximum."""
    ends = [slope * int(stored.min()), slope * int(stored.max())]
    shifted = [end + intercept for end in ends]
    numbers = (slope, intercept, *ends, *shifted)
    hu: Voxels = stored.astype(_narrowest(*numbers), copy=False)
    if slope != 1:
        hu = hu * slope
    if intercept:
        hu = hu + intercept
    return hu, float(min(shifted)), float(max(shifted))


def _narrowest(*numbers: float) -> type[np.signedinteger]:
    """The smallest signed integers from int16 on that hold all of these whole numbers."""
    bits = max(int(number).bit_length() for number in numbers)
    return np.int16 if bits < 16 else np.int32 if bits < 32 else np.int64


def stored_values(raw: NDArray[np.generic], pixel_format: PixelFormat) -> NDArray[np.integer]:
    """The stored values of raw pixels: the bits from the high bit down, signed, and nothing else.

    Bits above or below the stored ones hold overlays or leftovers in old files and are not part of the value.
    May be a view of `raw`.
    """
    allocated, bits = pixel_format.bits_allocated, pixel_format.bits_stored
    if bits == allocated:
        return raw.astype(raw.dtype.newbyteorder("="), copy=False)
    values: NDArray[np.signedinteger] = raw.astype(f"=i{raw.dtype.itemsize}")
    if shift := pixel_format.high_bit + 1 - bits:
        values >>= shift
    values &= (1 << bits) - 1
    if pixel_format.signed:
        sign = 1 << (bits - 1)
        values ^= sign
        values -= sign
    return values


def padding_mask(
    raw: NDArray[np.generic], stored: NDArray[np.integer], pixel_format: PixelFormat
) -> NDArray[np.bool_] | None:
    """Where pixels are padding: Pixel Padding Value, or the range up to its limit; None without the tag.

    The tag is a bit pattern that is read with the pixels' own sign, whatever its VR says (US 63536 is -2000
    in signed pixels). It may name a value that the stored bits cannot hold, so the allocated bits are
    compared too.
    """
    if pixel_format.padding is None or pixel_format.bits_allocated > 16:
        return None
    first = _signed_like(pixel_format.padding, pixel_format)
    last = (
        first
        if pixel_format.padding_limit is None
        else _signed_like(pixel_format.padding_limit, pixel_format)
    )
    low, high = min(first, last), max(first, last)
    mask: NDArray[np.bool_] = (stored == low) if low == high else (stored >= low) & (stored <= high)
    if pixel_format.bits_stored < pixel_format.bits_allocated:
        whole = raw.astype(np.int32)
        mask |= (whole >= low) & (whole <= high)
    return mask


def _signed_like(pattern: int, pixel_format: PixelFormat) -> int:
    bits = pixel_format.bits_allocated
    value = pattern & ((1 << bits) - 1)
    return value - (1 << bits) if pixel_format.signed and value >> (bits - 1) else value
