"""Colours of evidence: perceptually even ramps, a scale in logit units, blending over the scan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]

_LEVELS = 256
_OPACITY = 0.76
_UNSEEN_GREY = 0.30
_UNSEEN_CONTRAST = 0.38
_HATCH_PIXELS = 11

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB [..., 3] in 0 .. 1 to Oklab (Ottosson 2020), in which equal distances look about equal."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lab: NDArray[np.float64] = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    return lab


def _from_oklab(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = np.clip((lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T, 0.0, 1.0)
    srgb: NDArray[np.float64] = np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return srgb


def even_ramp(*codes: str) -> NDArray[np.float64]:
    """A ramp [256, 3] through sRGB colours ("rrggbb"), in steps of equal Oklab distance."""
    colours = np.array([[int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for code in codes])
    fine = np.linspace(0.0, len(colours) - 1.0, 4096)
    stops = oklab(colours)
    lab = np.stack([np.interp(fine, np.arange(len(stops)), stops[:, c]) for c in range(3)], axis=-1)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))])
    wanted = np.linspace(0.0, length[-1], _LEVELS)
    return _from_oklab(np.stack([np.interp(wanted, length, lab[:, c]) for c in range(3)], axis=-1))


@cache
def positive_ramp() -> NDArray[np.float64]:
    """Colours [256, 3] of evidence for a label, weak to strong: the upper part of inferno, evenly spaced."""
    return even_ramp("56106e", "8f2469", "bb3754", "e35933", "f98c0a", "fcc32c", "ffe45c")


@cache
def negative_ramp() -> NDArray[np.float64]:
    """Colours [256, 3] of evidence against a label, weak to strong: blue to light cyan, evenly spaced."""
    return even_ramp("14246e", "1747a6", "1a72c8", "22a0d8", "57ccdf", "b5f4ee")


@dataclass(frozen=True)
class Scale:
    """Logits to colours: full strength at `limit`; negative ones in the second hue if `signed`, else none."""

    limit: float
    signed: bool = False

    def strength(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values clipped to -1 .. 1 of the limit (0 .. 1 unless signed)."""
        if self.limit <= 0:
            return np.zeros_like(logits, dtype=np.float32)
        strength: NDArray[np.float32] = np.clip(logits / self.limit, -1.0 if self.signed else 0.0, 1.0)
        return strength.astype(np.float32, copy=False)

    def over(self, grey: NDArray[np.float32], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Colours [..., 3] in 0 .. 1 of evidence laid over grey values in 0 .. 1; opacity grows from 0."""
        t = self.strength(logits)
        size = np.abs(t)
        index = np.rint(size * (_LEVELS - 1)).astype(np.intp)
        tables = np.stack([positive_ramp(), negative_ramp()]).astype(np.float32)
        colour = tables[(t < 0).astype(np.intp), index]
        alpha = (_OPACITY * (1.0 - (1.0 - size) ** 2))[..., None]
        blended: NDArray[np.float32] = grey[..., None] * (1.0 - alpha) + colour * alpha
        return blended


def scan_grey(hu: NDArray[np.float32], window_hu: tuple[float, float]) -> NDArray[np.float32]:
    """Grey values in 0 .. 1 of HU in a window."""
    low, high = window_hu
    return np.asarray(np.clip((hu - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def compose(
    hu: NDArray[np.float32],
    evidence: NDArray[np.float32],
    inside: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    window_hu: tuple[float, float],
    scale: Scale,
) -> RGB:
    """The picture [rows, columns, 3] of one plane: evidence over the scan; unseen voxels greyed and hatched.

    `inside`: where the scan is, black elsewhere; `seen`: where the network saw.
    """
    grey = scan_grey(hu, window_hu)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    coloured = inside & seen & (evidence != 0 if scale.signed else evidence > 0)
    rgb[coloured] = scale.over(grey[coloured], evidence[coloured])
    unseen = inside & ~seen
    if unseen.any():
        rows, columns = np.indices(grey.shape)
        hatch = ((rows + columns) % _HATCH_PIXELS == 0).astype(np.float32) * 0.16
        rgb[unseen] = (_UNSEEN_GREY + (grey - 0.5) * _UNSEEN_CONTRAST + hatch)[unseen][:, None]
    rgb[~inside] = 0.0
    return to_bytes(rgb)


def to_bytes(rgb: NDArray[np.floating]) -> RGB:
    """Colours in 0 .. 1 as bytes."""
    return np.asarray(np.rint(np.clip(rgb, 0.0, 1.0) * 255), dtype=np.uint8)
