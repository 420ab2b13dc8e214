"""Masks in image files: NIfTI, NRRD and MetaImage, read with the readers of scans but never as Hounsfield units."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

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
_SEGMENT = re.compile(r"Segment(\d+)_(?:LabelValue|Layer|Name|ID)")
_HIGHEST = 65535


@dataclass(frozen=True, eq=False)
class LabelImage:
    """`values_ijk`: whole numbers from 0 up; `present`: which; `affine_ras` index to RAS mm; `sha256` of the file."""

    values_ijk: Labels
    present: frozenset[int]
    affine_ras: Affine
    sha256: str


@dataclass(frozen=True, eq=False)
class LayeredImage:
    """`layers`: label maps on one grid, which may overlap, each with the values that it holds."""

    layers: tuple[LabelImage, ...]


def kind_of(path: Path) -> str | None:
    """Which kind of image a file's name promises: one of KINDS, None for another."""
    entry = promised_format(path.name)
    return entry.kind if entry is not None and entry.kind in KINDS else None


def read_image(path: Path) -> LabelImage:
    """The numbers in an image file. Raises MaskError: "mask-unreadable", "mask-values", "mask-shape", ..."""
    return _read_image(path, *_state(path))


def _state(path: Path) -> tuple[int, int]:
    """What tells whether a file is still the one that was read: when it was changed, and its size."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, f"{error.strerror}") from error
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=1)
def _read_image(path: Path, _changed: int, _size: int) -> LabelImage:
    """One file is kept, since a label map is asked for one mask after another."""
    try:
        stored = _stored(path)
    except ScanError as error:
        raise _unusable(path, error) from error
    values = _checked(stored, path)
    return LabelImage(values, _present(values), stored.affine_ras, stored.sha256)


def read_layers(path: Path) -> LayeredImage:
    """The label maps in a NRRD file of several. Raises MaskError as `read_image`."""
    return _read_layers(path, *_state(path))


@lru_cache(maxsize=1)
def _read_layers(path: Path, _changed: int, _size: int) -> LayeredImage:
    try:
        found = nrrd_header.parse_layers(path, path.name, _OPTIONS)
        if found is None:
            raise ScanError(f"{path.name} is not a list of volumes.", code="not-3d")
        header, count = found
        stored = text_image.read_stored(header, path.name)
    except ScanError as error:
        raise _unusable(path, error) from error
    values = _checked(stored, path)
    i, j, k = values.shape
    layers = [np.asfortranarray(layer) for layer in values.reshape((count, i // count, j, k), order="F")]
    return LayeredImage(
        tuple(LabelImage(layer, _present(layer), stored.affine_ras, stored.sha256) for layer in layers)
    )


def _unusable(path: Path, error: ScanError) -> MaskError:
    code, hint = _CODES.get(error.code, ("mask-unreadable", error.hint or "Get an intact copy."))
    return MaskError(f"The mask {shown(path)} cannot be used. {error.message}", hint=hint, code=code)


def _checked(stored: Stored, path: Path) -> Labels:
    """The values of an image that has a place, as whole numbers."""
    unplaced = next((warning for warning in stored.warnings if warning.code in _UNPLACED), None)
    if unplaced is not None:
        raise refused(path, unplaced.text.rstrip("."), "mask-no-affine", "Save it with its affine.")
    return _whole(stored.values, path)


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


def own_layers(path: Path) -> dict[tuple[int, int], str] | None:
    """What a NRRD file of several label maps calls its segments, by layer and value; None for any other file.

    3D Slicer writes one where segments overlap. Files of before 2020 give a segment no value: each has the layer of its
    number, and in it the value 1. Raises MaskError.
    """
    if kind_of(path) != "nrrd":
        return None
    try:
        if nrrd_header.parse_layers(path, path.name, _OPTIONS) is None:
            return None
        segments = _listed(path)
    except ScanError as error:
        raise _unusable(path, error) from error
    if not segments:
        raise refused(
            path, "it holds several volumes and names none", "mask-shape", "Give one file for each mask."
        )
    return _named(
        path,
        [
            ((_number(segment, "Layer", number), _number(segment, "LabelValue", 1)), _name(segment, number))
            for number, segment in segments.items()
        ],
    )


def _segments(path: Path) -> dict[int, str]:
    try:
        segments = _listed(path)
    except ScanError as error:
        raise _unreadable(path, error.message) from error
    pairs = [
        (int(segment["LabelValue"]), _name(segment, number))
        for number, segment in segments.items()
        if segment.get("LabelValue", "").strip().isdecimal()
    ]
    return _named(path, pairs)


def _listed(path: Path) -> dict[int, dict[str, str]]:
    """What a NRRD header says of 3D Slicer's segments, by their number. Raises ScanError."""
    segments: dict[int, dict[str, str]] = {}
    for key, value in nrrd_header.key_values(path, path.name).items():
        match = _SEGMENT.fullmatch(key)
        if match is not None:
            segments.setdefault(int(match[1]), {})[key.rpartition("_")[2]] = value
    return segments


def _number(segment: dict[str, str], key: str, default: int) -> int:
    text = segment.get(key, "").strip()
    return int(text) if text.isdecimal() else default


def _name(segment: dict[str, str], number: int) -> str:
    return segment.get("Name") or segment.get("ID") or f"Segment{number}"


_Where = TypeVar("_Where")


def _named(path: Path, pairs: Iterable[tuple[_Where, str]]) -> dict[_Where, str]:
    """Names by where the segments are. Raises MaskError where two of other names are in one place."""
    found: dict[_Where, str] = {}
    for where, name in pairs:
        if found.setdefault(where, name) != name:
            what = f"its segments {found[where]} and {name} have the same value"
            raise _values(path, what, "each segment a value of its own")
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
