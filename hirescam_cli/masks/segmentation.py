"""DICOM SEG objects, read with highdicom: frames lie where their positions say, in whichever order they come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.valuerep import DSfloat

from hirescam_cli.errors import MaskError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io.dicom.silence import quiet
from hirescam_cli.masks.dicom_objects import DAMAGE, digest, numbers, read
from hirescam_cli.masks.mask import Inside, Mask, checked, refused
from hirescam_cli.masks.series import grid_of_series

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

_SAME_MM = 0.01
_PARALLEL = 1e-3
_UNEVEN = 0.05


def segment_names(path: Path) -> dict[int, str]:
    """The labels of a file's segments by number; the background of a label map is not one. Raises MaskError."""
    dataset = read(path, pixels=False)
    try:
        names = {
            int(segment.SegmentNumber): str(segment.SegmentLabel).strip()
            for segment in dataset.SegmentSequence
            if int(segment.SegmentNumber) > 0
        }
    except DAMAGE as error:
        raise _damaged(path, "its segments have no number or label") from error
    return names


def load_segments(path: Path, name: str, segments: tuple[int, ...]) -> Mask:
    """The union of segments, on the grid that their frames make. Raises MaskError.

    Where the object does not say how far its slices are apart, they are as far as those of the series that it refers
    to, if its files lie beside it; else a slice is as thick as the object says, and one in each of the gaps that this
    leaves is empty. Refused are probabilities ("mask-values"), frames that lie on no even, untilted grid and frames in
    one plane of unknown thickness ("mask-frames").
    """
    sha256 = digest(path)
    segmentation = _opened(path, sha256)
    try:
        with quiet():
            volume = segmentation.get_volume(
                segment_numbers=list(segments), rescale_fractional=False, skip_overlap_checks=True
            )
            values = np.asarray(volume.array)
            affine_lps = np.asarray(volume.affine, dtype=np.float64)
            fractional = str(segmentation.SegmentationType) == "FRACTIONAL"
            highest = int(segmentation.MaximumFractionalValue) if fractional else 1
    except DAMAGE as error:
        why = f"its frames cannot be put on one grid ({str(error).rstrip('.')})"
        raise refused(path, why, "mask-frames", "Export it on the grid of its series.") from error
    if fractional and bool(((values != 0) & (values != highest)).any()):
        what = "it holds probabilities, expected segments with sharp edges"
        raise refused(path, what, "mask-values", "Export a binary segmentation.")
    inside: Inside = np.any(values.reshape(*values.shape[:3], -1), axis=-1)
    return checked(name, inside, affines.LPS_TO_RAS @ affine_lps, path, sha256)


@lru_cache(maxsize=1)
def _opened(path: Path, _sha256: str) -> Segmentation:
    try:
        import highdicom.seg
    except ImportError as error:
        raise MaskError(
            f"Reading the DICOM SEG {path.parent.name}/{path.name} needs highdicom, which is not installed.",
            hint="Install it with: pip install 'hirescam-cli[dicom]'.",
            code="mask-highdicom",
        ) from error
    try:
        with quiet():
            dataset = pydicom.dcmread(path)
            _spaced(dataset, path)
            return highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
    except MaskError:
        raise
    except DAMAGE as error:
        raise _damaged(path, f"it is not a valid DICOM SEG ({str(error).rstrip('.')})") from error


def _spaced(dataset: pydicom.Dataset, path: Path) -> None:
    """State the distance of slices in an object that leaves it open. Raises MaskError "mask-frames"."""
    measures = [found[0] for group in _groups(dataset) if (found := group.get("PixelMeasuresSequence"))]
    if not measures or any(one.get("SpacingBetweenSlices") is not None for one in measures):
        return
    along, normal = _planes(dataset)
    if not along.size:
        return
    slice_mm = _series_step(dataset, path, normal) or _thickness(measures)
    steps = np.diff(along)
    if not steps.size and slice_mm is None:
        why = "its frames lie in one plane of unknown thickness"
        raise refused(
            path, why, "mask-frames", "Put its series beside it, or export it with the slice thickness."
        )
    step = DSfloat(_step(steps, slice_mm), auto_format=True)
    for one in measures:
        one.SpacingBetweenSlices = step
        # highdicom takes no object without it, and makes no other use of it.
        one.SliceThickness = one.get("SliceThickness") or step


def _groups(dataset: pydicom.Dataset) -> list[pydicom.Dataset]:
    """The functional groups that all frames share, and those of each."""
    return [
        group
        for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
        for group in dataset.get(sequence) or ()
    ]


def _planes(dataset: pydicom.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the planes of frames lie along their normal, ascending, each once, in mm; and the normal (LPS)."""
    groups = _groups(dataset)
    turned = [found[0] for group in groups if (found := group.get("PlaneOrientationSequence"))]
    placed = [found[0] for group in groups if (found := group.get("PlanePositionSequence"))]
    if not turned or not placed:
        return np.empty(0), np.zeros(3)
    row, column = np.reshape(numbers(turned[0].ImageOrientationPatient), (2, 3))
    normal = np.cross(row, column)
    along = np.sort([np.dot(numbers(one.ImagePositionPatient), normal) for one in placed])
    return along[np.concatenate([[True], np.diff(along) > _SAME_MM])], normal


def _series_step(dataset: pydicom.Dataset, path: Path, normal: NDArray[np.float64]) -> float | None:
    """How far the slices of the referenced series are apart, where it lies beside and runs along the normal."""
    for referenced in dataset.get("ReferencedSeriesSequence") or ():
        grid = grid_of_series(path.parent, str(referenced.SeriesInstanceUID))
        if grid is not None:
            through = affines.LPS_TO_RAS[:3, :3] @ grid.affine_ras[:3, 2]
            step = float(np.linalg.norm(through))
            if abs(float(through @ normal)) > (1 - _PARALLEL) * step:
                return step
    return None


def _thickness(measures: Sequence[pydicom.Dataset]) -> float | None:
    found = [value for one in measures for value in numbers(one.get("SliceThickness")) if value > 0]
    return found[0] if found else None


def _step(steps: NDArray[np.float64], slice_mm: float | None) -> float:
    """The distance of slices: `steps` are multiples of it, and it is nearest to `slice_mm` from above."""
    if not steps.size:
        assert slice_mm is not None
        return slice_mm
    smallest = float(steps.min())
    between = 1 if slice_mm is None else max(1, math.floor(smallest / slice_mm + _UNEVEN))
    multiples = np.maximum(1, np.rint(steps * between / smallest))
    return float(steps.sum() / multiples.sum())


def _damaged(path: Path, why: str) -> MaskError:
    return refused(path, why, "mask-unreadable", "Get an intact copy, or export it again.")
