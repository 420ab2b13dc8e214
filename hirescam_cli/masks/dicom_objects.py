"""Which DICOM files are masks: SEG and RTSTRUCT objects, told by their SOP class."""

from __future__ import annotations

import struct
from pathlib import Path

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue

from hirescam_cli.io.dicom.recognise import is_dicom
from hirescam_cli.io.dicom.silence import quiet
from hirescam_cli.io.fingerprint import digest_of_file
from hirescam_cli.masks.mask import refused

SEG, RTSTRUCT = "dicom-seg", "rtstruct"

_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": SEG,
    "1.2.840.10008.5.1.4.1.1.66.7": SEG,
    "1.2.840.10008.5.1.4.1.1.481.3": RTSTRUCT,
}

DAMAGE = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError, AttributeError, KeyError,
    IndexError, RuntimeError, NotImplementedError, struct.error,
)  # fmt: skip
"""What the readers of DICOM raise for files that are damaged or break the standard."""


def kind_of(path: Path) -> str | None:
    """SEG or RTSTRUCT by the file's content, whatever it is called; None for anything else."""
    if not is_dicom(path):
        return None
    try:
        with quiet():
            dataset = pydicom.dcmread(
                path, specific_tags=["SOPClassUID"], stop_before_pixels=True, force=True
            )
        return _CLASSES.get(str(dataset.get("SOPClassUID", "")))
    except DAMAGE:
        return None


def read(path: Path, *, pixels: bool = True) -> pydicom.Dataset:
    """A whole DICOM file, or all before its pixels. Raises MaskError "mask-unreadable"."""
    try:
        with quiet():
            return pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
    except DAMAGE as error:
        raise refused(
            path, f"it cannot be read: {error}", "mask-unreadable", "Get an intact copy."
        ) from error


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, by which it is also told whether it is still the same. Raises MaskError."""
    try:
        return digest_of_file(path)
    except OSError as error:
        raise refused(
            path, f"it cannot be read: {error.strerror}", "mask-unreadable", "Check the file."
        ) from error


def numbers(value: object) -> list[float]:
    """The numbers of an element; none where there are none. Raises ValueError for text."""
    if value is None:
        return []
    return [float(part) for part in value] if isinstance(value, MultiValue | list) else [float(str(value))]
