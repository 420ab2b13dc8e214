"""Series whose slices each name a frame of reference of their own, as de-identified collections hold them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.io.scan import Ignored, Scan
from tests.io.dicom_factory import chest, expected_affine_ras, make_series, uid

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)


def found(folder: Path) -> tuple[tuple[Scan, ...], tuple[Ignored, ...]]:
    discovery = discover([InputPath(folder)], ReadOptions())
    return discovery.scans, discovery.ignored


def own_frame(k: int) -> str:
    return uid("frame", k)


@pytest.mark.parametrize("orientation", [(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), OBLIQUE])
def test_slices_that_make_one_even_volume_are_one(tmp_path: Path, orientation: Sequence[float]) -> None:
    make_series(tmp_path / "lidc", chest(), orientation=orientation, FrameOfReferenceUID=own_frame)
    scans, ignored = found(tmp_path)
    assert ([scan.case for scan in scans], ignored) == (["lidc"], ())
    volume = read(scans[0], ReadOptions())
    np.testing.assert_array_equal(volume.array_ijk, chest())
    np.testing.assert_allclose(volume.affine_ras, expected_affine_ras(orientation=orientation), atol=1e-6)
    (warning,) = map(str, volume.provenance.warnings)
    assert warning.startswith("frames-of-reference: the 12 slices name 12 frames of reference")


def test_copies_of_a_slice_do_not_hinder(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "lidc", chest(), FrameOfReferenceUID=own_frame)
    (tmp_path / "lidc" / "copy").write_bytes(paths[4].read_bytes())
    scans, _ = found(tmp_path)
    assert [scan.case for scan in scans] == ["lidc"]
    assert read(scans[0], ReadOptions()).array_ijk.shape == (24, 20, 12)


def test_two_stations_that_continue_each_other_stay_two(tmp_path: Path) -> None:
    """A patient who was moved between two scans: positions fit by chance, the space is another."""
    make_series(tmp_path / "ct", chest((24, 20, 24)), FrameOfReferenceUID=lambda k: uid("station", k // 12))
    scans, _ = found(tmp_path)
    assert len(scans) == 2
    assert [read(scan, ReadOptions()).array_ijk.shape[2] for scan in scans] == [12, 12]


def shifted(k: int) -> list[float]:
    """Even but for one slice that lies 2 mm to the side."""
    return [-100.0 + 2.0 * (k == 5), -120.0, -300.0 + 2.5 * k]


def uneven(k: int) -> list[float]:
    return [-100.0, -120.0, -300.0 + 2.5 * k + 0.8 * (k % 2)]


def gap(k: int) -> list[float]:
    return [-100.0, -120.0, -300.0 + 2.5 * (k + 3 * (k > 6))]


def twice(k: int) -> list[float]:
    return [-100.0, -120.0, -300.0 + 2.5 * (k // 2)]


@pytest.mark.parametrize("place", [shifted, uneven, gap, twice])
def test_slices_that_do_not_make_one_even_volume_are_not_merged(tmp_path: Path, place) -> None:  # type: ignore[no-untyped-def]
    positions = [place(k) for k in range(12)]
    make_series(tmp_path / "ct", chest(), positions_lps=positions, FrameOfReferenceUID=own_frame)
    scans, ignored = found(tmp_path)
    assert scans == ()
    assert {item.code for item in ignored} == {"few-slices"}
    assert len(ignored) == 12
    for item in ignored:
        assert "one of 12 parts of a series whose slices differ in frame of reference" in item.reason
        assert "--series" not in item.reason


@pytest.mark.parametrize(
    "other",
    [{"PixelSpacing": [0.9, 0.9]}, {"SeriesInstanceUID": uid("other")}, {"StudyInstanceUID": uid("another")}],
)
def test_slices_of_another_spacing_series_or_study_are_not_taken_in(
    tmp_path: Path, other: dict[str, object]
) -> None:
    def edit(ds: Dataset, k: int) -> None:
        if k == 12:
            for keyword, value in other.items():
                setattr(ds, keyword, value)

    make_series(tmp_path / "ct", chest((24, 20, 13)), FrameOfReferenceUID=own_frame, edit=edit)
    scans, ignored = found(tmp_path)
    assert [read(scan, ReadOptions()).array_ijk.shape for scan in scans] == [(24, 20, 12)]
    assert [item.code for item in ignored] == ["few-slices"]
