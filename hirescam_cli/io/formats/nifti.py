"""The registry's entries for NIfTI (`.nii`, and `.hdr` with `.img`) and its forerunner ANALYZE; all may be gzipped."""

from __future__ import annotations

from pathlib import Path

from hirescam_cli.io.formats.pairs import is_header_name, is_pair_name, pair_of
from hirescam_cli.io.input_format import Head, InputFormat, LeftOut, head_of
from hirescam_cli.io.labelmaps import StoredValues
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.volume import Volume

_MAGIC = {348: (b"n+1\0", b"ni1\0"), 540: (b"n+2\0", b"ni2\0")}
_OF_ANOTHER_PROGRAM = LeftOut("not-an-image", "is not an image of a kind that hirescam reads")


def sniff_nifti(head: Head) -> bool:
    """Whether a file is a NIfTI header, or the `.img` beside one."""
    return _has_magic(head.start) or _is_beside(head.path, "nifti")


def sniff_analyze(head: Head) -> bool:
    """Whether a file is an ANALYZE header, or the `.img` beside one."""
    return _header_kind(head) == "analyze" or _is_beside(head.path, "analyze")


def left_out(files: tuple[Path, ...]) -> LeftOut | None:
    """`.hdr` and `.img` files of other programs, which use these endings too."""
    foreign = is_pair_name(files[0]) and _header_kind(head_of(files[0])) is None
    return _OF_ANOTHER_PROGRAM if foreign else None


def values(files: tuple[Path, ...]) -> StoredValues:
    """The voxels as stored, piece by piece."""
    from hirescam_cli.io.nifti import stored_values

    return stored_values(files)


def read(scan: Scan, options: ReadOptions) -> Volume:
    """The scan's volume."""
    from hirescam_cli.io.nifti import read_nifti

    return read_nifti(scan, options)


def _header_kind(head: Head) -> str | None:
    """Which kind of header a file is, if it is one."""
    if _has_magic(head.start):
        return "nifti"
    return "analyze" if is_header_name(head.path) and 348 in _sizes(head.start) else None


def _has_magic(start: bytes) -> bool:
    if 540 in _sizes(start):
        return start[4:8] in _MAGIC[540]
    return 348 in _sizes(start) and start[344:348] in _MAGIC[348]


def _sizes(start: bytes) -> tuple[int, int]:
    return int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")


def _is_beside(path: Path, kind: str) -> bool:
    """Whether `path` is the voxels of a header of this kind."""
    header = pair_of(path)[0]
    try:
        return header != path and _header_kind(head_of(header)) == kind
    except OSError:
        return False


FORMAT = InputFormat(
    kind="nifti",
    title="NIfTI",
    endings=(".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"),
    sniff=sniff_nifti,
    read=read,
    files=pair_of,
    left_out=left_out,
    values=values,
)
ANALYZE = InputFormat(
    kind="analyze",
    title="ANALYZE",
    endings=(),
    sniff=sniff_analyze,
    read=read,
    files=pair_of,
    left_out=left_out,
    values=values,
)
