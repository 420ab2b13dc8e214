"""The registry's entry for MetaImage: `.mha`, and `.mhd` with a file of voxels beside it."""

from __future__ import annotations

import re
from pathlib import Path

from hirescam_cli.io.input_format import Head, InputFormat
from hirescam_cli.io.labelmaps import StoredValues
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.volume import Volume

_FIRST_FIELD = re.compile(rb"\s*(ObjectType|NDims|Comment|ObjectSubType|DimSize|ElementType)\s*=")


def sniff(head: Head) -> bool:
    """Whether a file begins with one of the fields that a MetaImage header begins with."""
    return _FIRST_FIELD.match(head.start) is not None and not head.gzipped


def files(path: Path) -> tuple[Path, ...]:
    """The header, and the voxels' file if the header is detached."""
    from hirescam_cli.io import metaimage_header, text_header

    return text_header.with_data(path, metaimage_header.data_file, detached=".mhd")


def values(files: tuple[Path, ...]) -> StoredValues:
    """The voxels as stored, piece by piece."""
    from hirescam_cli.io import metaimage_header, text_image

    return text_image.stored_values(metaimage_header.parse(files[0], files[0].name, ReadOptions()))


def read(scan: Scan, options: ReadOptions) -> Volume:
    """The scan's volume."""
    from hirescam_cli.io import metaimage_header, text_image

    return text_image.read_text_image(metaimage_header.parse(scan.files[0], scan.name, options), scan)


FORMAT = InputFormat(
    kind="metaimage",
    title="MetaImage",
    endings=(".mha", ".mhd"),
    sniff=sniff,
    read=read,
    files=files,
    values=values,
)
