"""Series that the factory made, as hirescam reads them."""

from __future__ import annotations

from pathlib import Path

from numpy import float64
from numpy.typing import NDArray

from hirescam_cli.io import InputPath, ReadOptions, discover, read


def series_of(folder: Path) -> NDArray[float64]:
    """The affine (RAS mm) of the one series in a folder."""
    (scan,) = discover([InputPath(folder)], ReadOptions()).scans
    return read(scan, ReadOptions()).affine_ras
