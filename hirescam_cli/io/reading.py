"""From a scan that was found to its volume, whichever format it has."""

from __future__ import annotations

from typing import NoReturn

from hirescam_cli.errors import ScanError
from hirescam_cli.io.formats import format_of_kind, titles
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.io.values import check_geometry, check_shape
from hirescam_cli.volume import Volume

_FETCH = "Fetch the file again from its source, or take it out of the input."
_FOLDER = "Give the folder that holds the whole series, not single files of it."


def read(scan: Scan, options: ReadOptions) -> Volume:
    """Read one scan in HU; every refusal is a ScanError that names the scan and says what to do."""
    entry = format_of_kind(scan.kind)
    if entry is None:
        _refuse(scan)
    try:
        volume = entry.read(scan, options)
    except MemoryError as error:
        raise ScanError(
            f"{scan.name} does not fit into this machine's memory.",
            hint="Use a machine with more memory, or lower --max-voxels to refuse such files at once.",
            code="out-of-memory",
        ) from error
    try:
        return _checked(volume, scan.name, options).warned(*scan.warnings)
    except ScanError as error:
        if error.code == "not-3d" and entry.grouped:
            raise ScanError(error.message, hint=_FOLDER, code=error.code) from error
        raise


def _checked(volume: Volume, name: str, options: ReadOptions) -> Volume:
    """What holds for the volumes of every format: a size and a place that a scan of a person can have."""
    check_shape(volume.array_ijk.shape, name, options.max_voxels)
    return volume.warned(*check_geometry(volume.affine_ras, volume.array_ijk.shape, name))


def _refuse(scan: Scan) -> NoReturn:
    """Raise the ScanError of a scan that no format reads."""
    if scan.kind == "refused":
        code, reason, hint = scan.selector
        raise ScanError(reason, hint=hint or _FETCH, code=code)
    _check_readable(scan)
    raise ScanError(
        f"{scan.name} is not an image of a kind that hirescam reads.",
        hint=f"Give {titles()}.",
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
