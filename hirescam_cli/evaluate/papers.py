"""The papers' own measures, as they computed them and with their error taken out.

Organ precision ("OrganIOU" in the code of HiResCAM's authors, explainable-ct-ai, src/attn_analysis/iou_analysis.py):
the map's positive part, from 0 to 1 between its least and its highest cell, is cut at a threshold; of the a + b cells
above, a touch the allowed region: a / (a + b). The authors' variant gives 0 where a or b is 0, so that a flawless map
scores 0; the repaired one gives a / (a + b), and nothing where no cell passes. Thresholds: one of 53, by label.

IoU (Saporta et al., Nature Machine Intelligence 2022, CheXlocalize): the map interpolated to the mask's grid, from 0 to
255 between its least and its highest voxel, cut by Otsu's method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.cells import MaskOnCells
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import resample_linear

Floats = NDArray[np.float64]

THRESHOLDS: Floats = np.r_[
    np.arange(1, 5) * 0.004,
    np.arange(1, 50) * 0.02,
]
_LEVELS = 256


@dataclass(frozen=True, eq=False)
class PaperFigures:
    """One map against one mask. `precision`, `authors` [thresholds]: the first NaN where no cell passes.

    `allowed`: share of the cells that are allowed; `iou`: with Otsu's cut at full resolution; `iou_ceiling`: the best
    that any set of whole cells reaches.
    """

    precision: Floats
    authors: Floats
    allowed: float
    iou: float
    iou_ceiling: float


def paper_figures(h: Floats, mask: MaskOnCells) -> PaperFigures:
    """The papers' figures of a map h [cells]; the cells that the mask touches are the allowed region."""
    precision, authors = organ_precision(h, mask.touched)
    allowed = float(mask.touched.mean())
    return PaperFigures(precision, authors, allowed, iou_otsu(h, mask), iou_ceiling(mask))


def organ_precision(h: Floats, allowed: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """a / (a + b) at each of `THRESHOLDS`, repaired (NaN where no cell passes) and as the authors computed it."""
    p = np.maximum(h, 0.0)
    p = p - p.min()
    if p.max() > 0:
        p = p / p.max()
    inside, outside = np.sort(p[allowed]), np.sort(p[~allowed])
    a = inside.size - np.searchsorted(inside, THRESHOLDS, side="right")
    b = outside.size - np.searchsorted(outside, THRESHOLDS, side="right")
    with np.errstate(invalid="ignore"):
        precision = np.asarray(a / np.where(a + b > 0, a + b, np.nan), dtype=np.float64)
    return precision, np.where((a > 0) & (b > 0), np.nan_to_num(precision), 0.0)


def otsu(levels: NDArray[np.uint8]) -> int:
    """The level that separates two classes best (Otsu 1979): the lowest with the largest variance between classes."""
    counts = np.bincount(levels.ravel(), minlength=_LEVELS).astype(np.float64)
    share = np.cumsum(counts) / counts.sum()
    moment = np.cumsum(counts * np.arange(_LEVELS)) / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * share - moment) ** 2 / (share * (1.0 - share))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1.0)))


def iou_otsu(h: Floats, mask: MaskOnCells) -> float:
    """IoU with the mask of the map interpolated to the mask's grid, over the box that mask and map fill together."""
    target, inside = _common(mask)
    values = resample_linear(h.astype(np.float32), mask.cells.affine_ras, target)
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return 0.0
    levels = np.floor((values - low) * (255.0 / (high - low))).astype(np.uint8)
    called = levels > otsu(levels)
    union = int((called | inside).sum())
    return float((called & inside).sum()) / union if union else 0.0


def iou_ceiling(mask: MaskOnCells) -> float:
    """The largest IoU of a union of whole cells with the mask: cells are taken while they help, fullest first."""
    share = np.sort(mask.share.ravel())[::-1]
    cell_mm3 = abs(float(np.linalg.det(mask.cells.affine_ras[:3, :3])))
    found = np.cumsum(share)
    union = mask.volume_mm3 / cell_mm3 + np.arange(1, share.size + 1) - found
    return float((found / union).max())


def _common(mask: MaskOnCells) -> tuple[Grid, NDArray[np.bool_]]:
    """The mask's grid extended to the cells' boxes, and the mask on it."""
    to_mask: Affine = np.asarray(np.linalg.inv(mask.to_cell), dtype=np.float64)
    corners = np.array(list(np.ndindex(2, 2, 2))) * np.asarray(mask.cells.shape) - 0.5
    index = affines.apply(to_mask, corners)
    low = np.minimum(np.ceil(index.min(axis=0) - 1e-6), 0).astype(int)
    high = np.maximum(np.floor(index.max(axis=0) + 1e-6) + 1, mask.array.shape).astype(int)
    inside = np.zeros(high - low, dtype=bool)
    inside[tuple(slice(-a, -a + n) for a, n in zip(low, mask.array.shape, strict=True))] = mask.array
    step = np.eye(4)
    step[:3, 3] = low
    return Grid((inside.shape[0], inside.shape[1], inside.shape[2]), mask.affine @ step), inside
