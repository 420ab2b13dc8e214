"""From a scan that was found to its volume, whichever format it has."""

from __future__ import annotations

from hirescam_cli.errors import ScanError
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.volume import Volume


def read(scan: Scan, options: ReadOptions) -> Volume:
    """Read one scan in HU; every refusal is a ScanError that names the scan and says what to do."""
    try:
        return _read(scan, options).warned(*scan.warnings)
    except MemoryError as error:
        raise ScanError(
            f"{scan.name} does not fit into this machine's memory.",
            hint="Use a machine with more memory, or lower --max-voxels to refuse such files at once.",
            code="out-of-memory",
        ) from error


def _read(scan: Scan, options: ReadOptions) -> Volume:
    if scan.kind in ("nifti", "analyze"):
        from hirescam_cli.io.nifti import read_nifti

        return read_nifti(scan, options)
    if scan.kind in ("nrrd", "metaimage"):
        from hirescam_cli.io.itk import read_itk

        return read_itk(scan, options)
    if scan.kind == "radchest-npz":
        from hirescam_cli.io.radchest import read_radchest

        return read_radchest(scan, options)
    if scan.kind in ("dicom", "dicom-enhanced"):
        from hirescam_cli.io.dicom import read_series

        return read_series(scan, options)
    if scan.kind == "refused":
        code, reason = scan.selector
        raise ScanError(
            reason, hint="Fetch the file again from its source, or take it out of the input.", code=code
        )
    _check_readable(scan)
    raise ScanError(
        f"{scan.name} is no image of a kind that hirescam reads.",
        hint="Give NIfTI, NRRD, MetaImage, RAD-ChestCT .npz or DICOM.",
        code="not-an-image",
    )


def _check_readable(scan: Scan) -> None:
    """Raise ScanError if the reason why a file has no known kind is that it cannot be opened."""
    try:
        if scan.files[0].is_file():
            scan.files[0].open("rb").close()
    except OSError as error:
        raise ScanError(
            f"{scan.name} cannot be read: {error.strerror}.",
            hint="Check the file and its permissions.",
            code="unreadable-file",
        ) from error
