"""Resampling, clamping to whole HU and cropping in one go: of what is cropped away nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.prepare.image import Image
from hirescam_cli.prepare.step import Step
from hirescam_cli.prepare.steps.pad_crop import PadAndCrop
from hirescam_cli.prepare.steps.resample import Resample
from hirescam_cli.prepare.steps.window import Window
from hirescam_cli.prepare.voxels import take

_INT16 = np.iinfo(np.int16)


def fused(image: Image, steps: Sequence[Step]) -> Image | None:
    """The image after the first three steps, in int16, as they would give it one after the other.

    None unless these are a resampling, a window that gives whole HU within 16 bits, and padding or cropping.
    """
    if len(steps) < 3:
        return None
    fine, window, fit = steps[:3]
    if not (isinstance(fine, Resample) and isinstance(window, Window) and isinstance(fit, PadAndCrop)):
        return None
    if not fine.inside:
        return None
    low, high = window.hu[0]
    if not (window.whole_hu and _INT16.min <= low and high <= _INT16.max):
        return None
    if fit.value != "minimum" and not (fit.value == int(fit.value) and _INT16.min <= fit.value <= _INT16.max):
        return None
    middle = fine.place(image.place)
    axes, after = fit.axes(middle), fit.place(middle)
    lines = fine.lines(image.place)

    def voxels(kept: Sequence[NDArray[np.intp]]) -> NDArray[np.float32 | np.int16]:
        return take(image.array, lines, kept, fine.interpolation, window.on_array, np.int16)

    content = voxels([np.arange(a.start + a.shift, a.stop + a.shift) for a in axes])
    if content.shape == fit.shape:
        return Image(content, after)
    value = fit.value
    if value == "minimum":
        value = int(content.min())
        if value > low and content.size != np.prod(middle.grid.shape):
            # What is cropped away may hold the minimum.
            value = int(voxels([np.arange(size) for size in middle.grid.shape]).min())
    result = np.full(fit.shape, value, dtype=np.int16)
    result[tuple(slice(a.start, a.stop) for a in axes)] = content
    return Image(result, after)


def cut_out(image: Image, steps: Sequence[Step]) -> Image | None:
    """The image after the first two steps, if they are a resampling and then padding or cropping, in float32.

    Of what is cropped away nothing is computed. None for other steps, and for padding with the minimum.
    """
    if len(steps) < 2:
        return None
    fine, fit = steps[:2]
    if not (isinstance(fine, Resample) and isinstance(fit, PadAndCrop)) or fit.value == "minimum":
        return None
    middle = fine.place(image.place)
    axes, after = fit.axes(middle), fit.place(middle)
    kept = [np.arange(a.start + a.shift, a.stop + a.shift) for a in axes]
    content = take(image.array, fine.lines(image.place), kept, fine.interpolation)
    if content.shape == fit.shape:
        return Image(content, after)
    result = np.full(fit.shape, fit.value, dtype=np.float32)
    result[tuple(slice(a.start, a.stop) for a in axes)] = content
    return Image(result, after)
