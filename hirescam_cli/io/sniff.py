"""What a file is, by its first bytes; its name only counts where the content says nothing."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from hirescam_cli.io.bytesource import GZIP_MAGIC
from hirescam_cli.io.gzipped import GzipError, GzipReader

_HEAD = 540
_META = re.compile(rb"\s*(ObjectType|NDims|Comment|ObjectSubType|DimSize|ElementType)\s*=")
_NIFTI_MAGIC = (b"n+1\0", b"ni1\0")
_NIFTI2_MAGIC = (b"n+2\0", b"ni2\0")

EXTENSIONS = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".hdr.gz": "nifti",
    ".hdr": "nifti",
    ".img.gz": "nifti",
    ".img": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".npz": "radchest-npz",
    ".dcm": "dicom",
    ".zip": "zip",
}
"""Known endings (lower case, longest first where one ends another) and what they promise."""


def split_extension(name: str) -> tuple[str, str]:
    """Stem and known or last extension (lower case) of a file name; `.nii.gz` counts as one."""
    lower = name.lower()
    for extension in EXTENSIONS:
        if lower.endswith(extension) and len(name) > len(extension):
            return name[: -len(extension)], extension
    path = Path(name)
    return path.stem, path.suffix.lower()


def promised_kind(name: str) -> str | None:
    """The kind that a file's name promises, if any."""
    return EXTENSIONS.get(split_extension(name)[1])


def sniff(path: Path) -> str | None:
    """The kind of a file by its content, None if it is of no known kind; DICOM is not looked for here.

    Kinds of scans as in `Provenance.kind`, besides "zip" (an archive) and "npz" (arrays that are no
    RAD-ChestCT). Raises OSError where the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if head[:2] == GZIP_MAGIC:
            file.seek(0)
            try:
                head = GzipReader(file, chunk=1 << 14).read(_HEAD)
            except GzipError:
                return None
            return "nifti" if _is_nifti(head, path.name) else None
    if head[:4] == b"NRRD":
        return "nrrd"
    if head[:4] == b"PK\x03\x04":
        return _zip_kind(path)
    if _META.match(head):
        return "metaimage"
    return "nifti" if _is_nifti(head, path.name) else None


def _is_nifti(head: bytes, name: str) -> bool:
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if 540 in sizes:
        return head[4:8] in _NIFTI2_MAGIC
    if 348 not in sizes:
        return False
    return head[344:348] in _NIFTI_MAGIC or split_extension(name)[1] in (".hdr", ".hdr.gz")


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return "radchest-npz" if path.suffix.lower() == ".npz" else "zip"
    if "ct.npy" in names:
        return "radchest-npz"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "zip"
