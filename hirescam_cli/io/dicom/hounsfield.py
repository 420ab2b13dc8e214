"""From raw pixels to Hounsfield units: stored bits, padding, rescale, and what is odd about the result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom.headers import PixelFormat, Rescale

AIR_HU = -1024
# Every CT holds something at least as dark as this: air or lung. Values that never go below it are no HU.
DARKEST_HU = -500


@dataclass
class Tally:
    """What was done to a volume's voxels on their way to HU."""

    padded: int = 0
    below_air: int = 0
    lowest: float = math.inf
    highest: float = -math.inf
    signs: int = 0

    def warnings(self, rescales: set[Rescale]) -> list[str]:
        """The corrections made, and the signs that the values may be no HU."""
        notes = []
        if self.padded:
            notes.append(f"pixel-padding: {self.padded} voxels of padding were set to air ({AIR_HU} HU).")
        if self.signs:
            notes.append(
                "pixel-sign: pixels marked as unsigned are signed in their codestream; read as signed."
            )
        if self.below_air:
            notes.append(f"below-air: {self.below_air} voxels below {AIR_HU} HU were set to {AIR_HU} HU.")
        if any(slope is None or intercept is None for slope, intercept, _ in rescales):
            notes.append(
                "no-rescale: rescale slope or intercept missing; 1 and 0 were used, values may be no HU."
            )
        if any(kind not in (None, "HU") for _, _, kind in rescales):
            notes.append("rescale-type: the rescale type is not HU; values may be no HU.")
        if self.lowest > DARKEST_HU:
            notes.append(
                f"no-air: the lowest value is {self.lowest:g}, above {DARKEST_HU} HU; values may be no HU."
            )
        return notes


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
            f"{name} has a rescale slope or intercept that is no usable number.",
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
    """HU [row, column] of a raw frame: whole numbers where slope and intercept are whole, else float32.

    Padding is masked in the stored values and becomes air (-1024 HU). So does anything below -1024 HU, which
    no matter has: padding that no tag declares (-2000, -3024). MONOCHROME1 tells a viewer to invert; HU stay
    as they are.
    """
    stored = stored_values(raw, pixel_format)
    padding = padding_mask(raw, stored, pixel_format)
    hu: NDArray[Any]
    if is_whole(rescale):
        hu = stored if rescale[0] == 1 else stored * int(rescale[0])
        if rescale[1]:
            hu = hu + int(rescale[1])
    else:
        hu = (stored * rescale[0] + rescale[1]).astype(np.float32)
    if padding is not None and (count := int(np.count_nonzero(padding))):
        tally.padded += count
        hu[padding] = AIR_HU
    if hu.min() < AIR_HU:
        tally.below_air += int(np.count_nonzero(hu < AIR_HU))
        hu = np.maximum(hu, AIR_HU)
    tally.lowest = min(tally.lowest, float(hu.min()))
    tally.highest = max(tally.highest, float(hu.max()))
    return hu


def stored_values(raw: NDArray[np.generic], pixel_format: PixelFormat) -> NDArray[np.signedinteger]:
    """The stored values of raw pixels: the bits from the high bit down, signed, and nothing else.

    Bits above or below the stored ones hold overlays or leftovers in old files and are no part of the value.
    """
    allocated, bits = pixel_format.bits_allocated, pixel_format.bits_stored
    wide = np.int32 if allocated < 32 else np.int64
    values: NDArray[np.signedinteger] = raw.astype(wide)
    if bits == allocated:
        return values
    values >>= pixel_format.high_bit + 1 - bits
    values &= (1 << bits) - 1
    if pixel_format.signed:
        sign = 1 << (bits - 1)
        values ^= sign
        values -= sign
    return values


def padding_mask(
    raw: NDArray[np.generic], stored: NDArray[np.signedinteger], pixel_format: PixelFormat
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
