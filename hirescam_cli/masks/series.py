"""The grid of a DICOM series that lies beside a file which refers to it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Grid
from hirescam_cli.io.dicom.geometry import stack_of
from hirescam_cli.io.dicom.grouping import volumes_of
from hirescam_cli.io.dicom.headers import Header, scan_headers
from hirescam_cli.io.dicom.sources import Source

_MOST_FILES = 20_000


def grid_of_series(folder: Path, series_uid: str) -> Grid | None:
    """The grid on which `explain` would read a series, from its files in `folder` or a folder right below it.

    None where there is no such series, or it makes no single even volume.
    """
    headers = [header for header in _headers(folder) if header.series_uid == series_uid]
    volumes = volumes_of(headers) if headers else []
    if len(volumes) != 1:
        return None
    try:
        stack = stack_of(volumes[0], folder.name, allow_gaps=True)
    except ScanError:
        return None
    return Grid(stack.shape_ijk, stack.affine_ras)


@lru_cache(maxsize=2)
def _headers(folder: Path) -> tuple[Header, ...]:
    try:
        files = sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file())
    except OSError:
        return ()
    sources = [Source(path, path.relative_to(folder).as_posix()) for path in files[:_MOST_FILES]]
    headers, _ = scan_headers(sources)
    return tuple(header for header in headers if header.pixel_format is not None)
