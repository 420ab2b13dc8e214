"""DICOM SEG objects, read with highdicom: frames lie where their positions say, in whichever order they come."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hirescam_cli.errors import MaskError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io.dicom.silence import quiet
from hirescam_cli.masks.dicom_objects import DAMAGE, digest, read
from hirescam_cli.masks.mask import Inside, Mask, checked, refused

if TYPE_CHECKING:
    from highdicom.seg import Segmentation


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

    Refused are probabilities ("mask-values") and frames that lie on no even, untilted grid ("mask-frames").
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
            return highdicom.seg.segread(path)
    except DAMAGE as error:
        raise _damaged(path, f"it is not a valid DICOM SEG ({str(error).rstrip('.')})") from error


def _damaged(path: Path, why: str) -> MaskError:
    return refused(path, why, "mask-unreadable", "Get an intact copy, or export it again.")
