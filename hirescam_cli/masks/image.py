"""Masks in image files: NIfTI, NRRD and MetaImage, read with the readers of scans but never as Hounsfield units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from hirescam_cli.errors import MaskError, ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.io import metaimage_header, nifti, nrrd_header, text_image
from hirescam_cli.io.formats import format_of, promised_format
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.io.stored import Stored
from hirescam_cli.masks.mask import refused, shown

KINDS = ("nifti", "nrrd", "metaimage")
"""The kinds of image files that may be masks."""

Labels = NDArray[np.integer]

_OPTIONS = ReadOptions(least_axis=1)
_UNPLACED = {"affine-assumed", "origin-unknown"}
_CODES = {
    "no-affine": ("mask-no-affine", "Save it with its affine."),
    "bad-affine": ("mask-affine", "Save it with its affine."),
    "transforms-disagree": ("mask-affine", "Save it again with one transform: its sform and qform differ."),
    "several-volumes": ("mask-shape", "Give one file for each mask, or one label map."),
    "not-3d": ("mask-shape", "Give one file for each mask, or one label map."),
    "voxel-type": ("mask-values", "Give binary masks or label maps, not pictures."),
    "voxel-function": (
        "mask-values",
        "Save it again with its numbers as they are, without a function of them.",
    ),
}
_LABEL = re.compile(r'<Label\s[^>]*\bKey="(\d+)"[^>]*>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*?))\s*</Label>', re.S)
_SEGMENT = re.compile(r"(Segment\d+)_LabelValue")
_HIGHEST = 65535


@dataclass(frozen=True, eq=False)
class LabelImage:
    """`values_ijk`: whole numbers from 0 up; `present`: which; `affine_ras` index to RAS mm; `sha256` of the file."""

    values_ijk: Labels
    present: frozenset[int]
    affine_ras: Affine
    sha256: str


def kind_of(path: Path) -> str | None:
    """Which kind of image a file's name promises: one of KINDS, None for another."""
    entry = promised_format(path.name)
    return entry.kind if entry is not None and entry.kind in KINDS else None


def read_image(path: Path) -> LabelImage:
    """The numbers in an image file. Raises MaskError: "mask-unreadable", "mask-values", "mask-shape", ..."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, f"{error.strerror}") from error
    return _read_image(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _read_image(path: Path, _changed: int, _size: int) -> LabelImage:
    """One file is kept, since a label map is asked for one mask after another."""
    try:
        stored = _stored(path)
    except ScanError as error:
        code, hint = _CODES.get(error.code, ("mask-unreadable", error.hint or "Get an intact copy."))
        message = f"The mask {shown(path)} cannot be used. {error.message}"
        raise MaskError(message, hint=hint, code=code) from error
    unplaced = next((warning for warning in stored.warnings if warning.code in _UNPLACED), None)
    if unplaced is not None:
        raise refused(path, unplaced.text.rstrip("."), "mask-no-affine", "Save it with its affine.")
    values = _whole(stored.values, path)
    return LabelImage(values, _present(values), stored.affine_ras, stored.sha256)


def _stored(path: Path) -> Stored:
    entry = format_of(path)
    kind = None if entry is None else entry.kind
    if entry is not None and kind == "nifti":
        return nifti.read_stored(entry.files(path), path.name, _OPTIONS)
    if kind == "nrrd":
        return text_image.read_stored(nrrd_header.parse(path, path.name, _OPTIONS), path.name)
    if kind == "metaimage":
        return text_image.read_stored(metaimage_header.parse(path, path.name, _OPTIONS), path.name)
    if kind == "analyze":
        raise ScanError("ANALYZE files do not say where they lie.", code="no-affine")
    raise ScanError(f"{path.name} is not the image that its name promises.", code="not-an-image")


def _whole(values: Voxels, path: Path) -> Labels:
    """The values as unsigned whole numbers. Raises MaskError "mask-values" for probabilities and images."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= _HIGHEST):
        worst = low if not low >= 0 else high
        raise _values(path, f"it holds {worst:g}, expected 0 and 1 or label values", "a mask, not an image")
    if values.dtype.kind == "f":
        broken = values % 1 != 0
        if broken.any():
            found = float(values[broken].flat[0])
            what = f"it holds {found:.3g}, expected 0 and 1 or label values"
            raise _values(path, what, "a mask: probabilities have to be cut at a threshold first")
    return values.astype(np.uint8 if high < 256 else np.uint16)


def _present(values: Labels) -> frozenset[int]:
    seen = np.zeros(_HIGHEST + 1, dtype=np.bool_)
    for k in range(values.shape[2]):
        seen[values[:, :, k]] = True
    return frozenset(np.flatnonzero(seen).tolist())


def _values(path: Path, what: str, wanted: str) -> MaskError:
    return refused(path, what, "mask-values", f"Give {wanted}.")


def _unreadable(path: Path, why: str) -> MaskError:
    return refused(path, f"it cannot be read: {why}", "mask-unreadable", "Check the file.")


def own_names(path: Path) -> dict[int, str]:
    """What an image file itself calls its label values: none for most.

    3D Slicer writes segments into NRRD headers, TotalSegmentator (--ml) a table into a NIfTI extension. Raises
    MaskError for a damaged file.
    """
    kind = kind_of(path)
    if kind == "nrrd":
        return _segments(path)
    return _table(path) if kind == "nifti" else {}


def _segments(path: Path) -> dict[int, str]:
    try:
        fields = nrrd_header.key_values(path, path.name)
    except ScanError as error:
        raise _unreadable(path, error.message) from error
    found = {}
    for key, value in fields.items():
        match = _SEGMENT.fullmatch(key)
        if match is not None and value.strip().isdecimal():
            segment = match.group(1)
            found[int(value)] = fields.get(f"{segment}_Name") or fields.get(f"{segment}_ID") or segment
    return found


def _table(path: Path) -> dict[int, str]:
    try:
        extensions = nibabel.load(path).header.extensions
    except (OSError, EOFError, ValueError, AttributeError, ImageFileError, HeaderDataError):
        # Reading the file will say what is wrong with it.
        return {}
    found = {}
    for extension in extensions:
        content = extension.get_content()
        if isinstance(content, bytes):
            for key, cdata, text in _LABEL.findall(content.decode("utf-8", "replace")):
                found[int(key)] = (cdata or text).strip()
    return {value: name for value, name in found.items() if value > 0 and name}
