"""Where a signed map points, measured against a mask: pure functions of the map's cells.

Nothing is interpolated, normalised or thresholded: h is the map in its own unit, p its positive part, f the share of
each cell that the mask fills, w the share of each cell that lies in the scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.cells import MaskOnCells
from hirescam_cli.evaluate.ranking import Ranking, auroc
from hirescam_cli.geometry import affine as affines

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """What a mask says of every map on its cells.

    `chance`: mean f over the cells that the scan reaches; `ceiling`: the largest f; `blind`: share of these cells whose
    centre is near; `seen`: the share of the mask that the network saw; `volume_ml` and number of `lesions` of the mask.
    """

    chance: float
    ceiling: float
    blind: float
    seen: float
    volume_ml: float
    lesions: int


@dataclass(frozen=True)
class Measures:
    """One map against one mask; None where a figure is not defined, never NaN.

    `hit`: the peak cell touches the mask; `centre_in`: its centre lies in the mask; `distance_mm`: from its centre to
    the nearest voxel centre (0 inside); `gap_mm`: the same from its box; `near`: the distance is within the tolerance.
    Of equal peaks the worst counts; without positive evidence there is no peak: missed, without a distance.
    `evidence_touching`, `evidence_in`: share of the positive evidence in cells that touch the mask, and in the mask;
    `negative_in`: the same of the negative; `signed_in`: evidence in the mask, in the map's unit.
    `lift` = evidence_in / chance; `score` = (evidence_in - chance) / (ceiling - chance).
    `ap`: average precision of the cells in the order of h; `rank`: share of the mask in the K highest, K its size in
    cells. `slice_hit`, `slice_auroc`: the highest slice score meets the mask, and the slice scores' AUROC for it.
    `lesions_found`: how many lesions the highest local maxima touch, as many maxima as there are lesions.
    """

    hit: bool
    centre_in: bool
    near: bool
    distance_mm: float | None
    gap_mm: float | None
    evidence_in: float | None
    evidence_touching: float | None
    negative_in: float | None
    signed_in: float
    lift: float | None
    score: float | None
    ap: float | None
    rank: float | None
    slice_hit: bool | None
    slice_auroc: float | None
    lesions_found: int


@dataclass(frozen=True)
class Peak:
    """The worst of a map's equal peaks."""

    hit: bool
    centre_in: bool
    distance_mm: float | None
    gap_mm: float | None


def peak_of(h: Floats, mask: MaskOnCells) -> Peak:
    """The map's highest cell; where several are equal, the worst in each respect."""
    if h.max() <= 0:
        return Peak(False, False, None, None)
    cells = [(int(i), int(j), int(k)) for i, j, k in np.argwhere(h == h.max())]
    centres = affines.apply(mask.cells.affine_ras, np.asarray(cells))
    return Peak(
        hit=all(bool(mask.touched[cell]) for cell in cells),
        centre_in=all(mask.contains(centre) for centre in centres),
        distance_mm=max(mask.distance_mm(cell) for cell in cells),
        gap_mm=max(mask.gap_mm(cell) for cell in cells),
    )


def ratio(part: float, whole: float) -> float | None:
    """A share; None of nothing."""
    return part / whole if whole > 0 else None


def measure(
    h: Floats,
    mask: MaskOnCells,
    lesions: Sequence[MaskOnCells],
    place: Place,
    reached: NDArray[np.bool_],
    slice_scores: Floats | None,
    peaks: Sequence[tuple[int, int, int]],
    tolerance_mm: float,
) -> Measures:
    """All figures of one map h [cells] against a mask that is not empty.

    `lesions`: its components; `reached` [cells]: the cells that the scan reaches; `slice_scores`: one for each cell
    along the first axis; `peaks`: the map's highest local maxima, one for each lesion.
    """
    f = mask.share
    positive, negative = np.maximum(h, 0.0), np.maximum(-h, 0.0)
    peak = peak_of(h, mask)
    evidence_in = ratio(float((positive * f).sum()), float(positive.sum()))
    ranking = Ranking.of(h[reached], f[reached]) if reached.any() else None
    spread = place.ceiling - place.chance
    meets: NDArray[np.bool_] = np.asarray(mask.touched.any(axis=(1, 2)))
    scores = slice_scores if meets.any() else None
    return Measures(
        hit=peak.hit,
        centre_in=peak.centre_in,
        near=peak.distance_mm is not None and peak.distance_mm <= tolerance_mm,
        distance_mm=peak.distance_mm,
        gap_mm=peak.gap_mm,
        evidence_in=evidence_in,
        evidence_touching=ratio(float(positive[mask.touched].sum()), float(positive.sum())),
        negative_in=ratio(float((negative * f).sum()), float(negative.sum())),
        signed_in=float((h * f).sum()),
        lift=None if evidence_in is None else ratio(evidence_in, place.chance),
        score=None if evidence_in is None or spread <= 0 else (evidence_in - place.chance) / spread,
        ap=None if ranking is None else ranking.average_precision(),
        rank=None if ranking is None else ranking.share_of_highest(max(1, round(float(f.sum())))),
        slice_hit=None if scores is None else bool(meets[scores == scores.max()].all()),
        slice_auroc=None if scores is None else auroc(scores, meets),
        lesions_found=sum(any(bool(lesion.touched[peak]) for peak in peaks) for lesion in lesions),
    )
