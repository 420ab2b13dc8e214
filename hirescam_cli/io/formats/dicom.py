"""The registry's entries for DICOM: series of files, enhanced multi-frame files, and archives of either."""

from __future__ import annotations

from hirescam_cli.io.input_format import Head, InputFormat
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.volume import Volume


def sniff_archive(head: Head) -> bool:
    """Whether a file is a zip archive."""
    return head.start[:4] == b"PK\x03\x04"


def sniff_object(head: Head) -> bool:
    """Whether a file is a DICOM object."""
    from hirescam_cli.io.dicom import is_dicom

    return is_dicom(head.path)


def read(scan: Scan, options: ReadOptions) -> Volume:
    """The scan's volume, be it in files or in an archive."""
    from hirescam_cli.io.dicom import read_series

    return read_series(scan, options)


def _never(_head: Head) -> bool:
    return False


ARCHIVE = InputFormat("zip", ".zip of DICOM", (".zip",), sniff_archive, read, grouped=True)
SERIES = InputFormat("dicom", "DICOM", (".dcm", ".dicom", ".ima"), sniff_object, read, grouped=True)
# Grouping tells these from other DICOM objects.
ENHANCED = InputFormat("dicom-enhanced", "enhanced DICOM", (), _never, read, grouped=True)
