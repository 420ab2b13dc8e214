"""The registry's entry for NRRD: `.nrrd`, and `.nhdr` with a file of voxels beside it."""

from __future__ import annotations

from pathlib import Path

from hirescam_cli.io.input_format import Head, InputFormat
from hirescam_cli.io.labelmaps import StoredValues
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.volume import Volume


def sniff(head: Head) -> bool:
    """Whether a file begins with NRRD's magic word."""
    return head.start[:4] == b"NRRD" and not head.gzipped


def files(path: Path) -> tuple[Path, ...]:
    """The header, and the voxels' file if the header is detached."""
    from hirescam_cli.io import nrrd_header, text_header

    return text_header.with_data(path, nrrd_header.data_file, detached=".nhdr")


def values(files: tuple[Path, ...]) -> StoredValues:
    """The voxels as stored, piece by piece."""
    from hirescam_cli.io import nrrd_header, text_image

    return text_image.stored_values(nrrd_header.parse(files[0], files[0].name, ReadOptions()))


def read(scan: Scan, options: ReadOptions) -> Volume:
    """The scan's volume."""
    from hirescam_cli.io import nrrd_header, text_image

    return text_image.read_text_image(nrrd_header.parse(scan.files[0], scan.name, options), scan)


FORMAT = InputFormat(
    kind="nrrd",
    title="NRRD",
    endings=(".nrrd", ".nhdr"),
    sniff=sniff,
    read=read,
    files=files,
    values=values,
)
