"""What the tests of dicom real share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from hirescam_cli.io.dicom import find_series, is_dicom, read_series
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.volume import Volume


@dataclass(frozen=True)
class Series:
    """A real series: its folder, the files of it, and the warnings that reading it must give."""

    folder: str
    pattern: str = "*"
    warnings: tuple[str, ...] = ()


def series_uid(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True, force=True)["SeriesInstanceUID"].value)


def files_of(root: Path, series: Series) -> list[Path]:
    return sorted(p for p in (root / series.folder).glob(series.pattern) if p.is_file() and is_dicom(p))


def read_real(root: Path, series: Series, **options: Any) -> Volume:
    """The series, asked for by its UID where it is short."""
    files = files_of(root, series)
    chosen = ReadOptions(series=series_uid(files[0]) or "all", **options)
    (scan,) = find_series(root / series.folder, files, chosen)[0]
    return read_series(scan, chosen)
