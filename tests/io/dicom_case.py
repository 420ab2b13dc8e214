"""Shared steps of the DICOM tests: find the scans of a folder, read the only one, compare with what was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom import find_series, read_series
from hirescam_cli.io.scan import Ignored, ReadOptions, Scan
from hirescam_cli.volume import Volume


def find(root: Path, **options: Any) -> tuple[list[Scan], list[Ignored]]:
    """Every DICOM scan below a folder, or in a file."""
    files = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
    identifiers = options.pop("identifiers", "uids")
    return find_series(root, files, ReadOptions(**options), identifiers=identifiers)


def only(root: Path, **options: Any) -> Scan:
    """The one scan below a folder."""
    scans, ignored = find(root, **options)
    assert len(scans) == 1, (scans, ignored)
    return scans[0]


def read(root: Path, **options: Any) -> Volume:
    """The volume of the one scan below a folder."""
    return read_series(only(root, **options), ReadOptions(**options))


def refused(root: Path, **options: Any) -> ScanError:
    """The error with which the one scan below a folder is refused."""
    scan = only(root, **options)
    with pytest.raises(ScanError) as caught:
        read_series(scan, ReadOptions(**options))
    assert str(root) not in str(caught.value)
    assert caught.value.hint
    return caught.value


def codes(volume: Volume) -> list[str]:
    """The codes of a volume's warnings."""
    return [warning.code for warning in volume.provenance.warnings]


def assert_volume(
    volume: Volume, hu_ijk: NDArray[Any], affine_ras: NDArray[Any], dtype: Any = np.int16
) -> None:
    """The volume holds exactly these voxels at exactly this place."""
    assert volume.array_ijk.dtype == dtype
    np.testing.assert_array_equal(volume.array_ijk, hu_ijk)
    np.testing.assert_allclose(volume.affine_ras, affine_ras, rtol=0, atol=1e-6)
