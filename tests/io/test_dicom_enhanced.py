"""Enhanced multi-frame and legacy-converted CT: functional groups per frame, frames in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from hirescam_cli.io.dicom import read_series
from hirescam_cli.io.scan import ReadOptions
from tests.io.dicom_case import assert_volume, codes, find, only, read, refused
from tests.io.dicom_factory import LEGACY_CT, chest, expected_affine_ras, make_enhanced, normal

LARGE = (48, 40, 12)


def test_frames_are_ordered_by_their_positions(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "e.dcm", order=[(5 * k + 2) % 12 for k in range(12)])
    scan = only(tmp_path)
    assert scan.kind == "dicom-enhanced"
    volume = read_series(scan, ReadOptions())
    assert_volume(volume, chest(), expected_affine_ras())
    assert volume.provenance.kind == "dicom-enhanced"
    assert codes(volume) == []


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
    ],
)
def test_every_transfer_syntax_of_many_frames(tmp_path: Path, syntax: str) -> None:
    make_enhanced(tmp_path / "e.dcm", chest(LARGE), transfer_syntax=syntax)
    assert_volume(read(tmp_path), chest(LARGE), expected_affine_ras())


def test_compressed_frames_without_an_offset_table(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path / "e.dcm", chest(LARGE), transfer_syntax=RLELossless)
    ds = pydicom.dcmread(path)
    frames = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=12))
    ds.PixelData = pydicom.encaps.encapsulate(frames, has_bot=False)
    ds.save_as(path)
    assert_volume(read(tmp_path), chest(LARGE), expected_affine_ras())


def test_compressed_frames_with_an_extended_offset_table(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path / "e.dcm", chest(LARGE), transfer_syntax=JPEG2000Lossless)
    ds = pydicom.dcmread(path)
    frames = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=12))
    encapsulated = pydicom.encaps.encapsulate_extended(frames)
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulated
    ds.save_as(path)
    assert_volume(read(tmp_path), chest(LARGE), expected_affine_ras())


def test_frames_promised_and_described_must_be_as_many(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "e.dcm", NumberOfFrames=13)
    scans, ignored = find(tmp_path)
    assert (scans, [(item.name, item.code) for item in ignored]) == ([], [("e.dcm", "dicom-broken")])


def test_a_header_longer_than_the_first_read(tmp_path: Path) -> None:
    hu = chest((24, 20, 600))
    path = make_enhanced(tmp_path / "e.dcm", hu)
    assert path.stat().st_size - hu.nbytes > 1 << 16
    assert_volume(read(tmp_path), hu, expected_affine_ras())


def test_slope_and_intercept_are_those_of_each_frame(tmp_path: Path) -> None:
    hu = (chest() // 2 * 2).astype(np.int16)
    slopes = [1 + k % 2 for k in range(12)]
    intercepts = [-1024 - 2 * k for k in range(12)]
    make_enhanced(tmp_path / "e.dcm", hu, slopes=slopes, intercepts=intercepts)
    assert_volume(read(tmp_path), hu, expected_affine_ras())


def test_one_frame_with_a_fractional_slope(tmp_path: Path) -> None:
    slopes = [1.0] * 12
    slopes[4] = 0.5
    make_enhanced(tmp_path / "e.dcm", slopes=slopes)
    volume = read(tmp_path)
    assert volume.array_ijk.dtype == np.float32
    np.testing.assert_array_equal(volume.array_ijk, chest())


def test_legacy_converted_ct_is_read(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "e.dcm", sop_class=LEGACY_CT)
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


def test_a_coronal_stack(tmp_path: Path) -> None:
    orientation = (1, 0, 0, 0, 0, -1)
    make_enhanced(tmp_path / "e.dcm", orientation=orientation)
    assert_volume(read(tmp_path), chest(), expected_affine_ras(orientation=orientation))
    assert normal(orientation)[1] == 1


def in_frame(keyword: str, **tags: Any) -> Any:
    """An edit of the per-frame groups: one more functional group with these tags; callables get the slice."""

    def edit(groups: Dataset, k: int) -> None:
        item = Dataset()
        for name, value in tags.items():
            setattr(item, name, value(k) if callable(value) else value)
        setattr(groups, keyword, Sequence([item]))

    return edit


def test_orientation_and_measures_of_the_frame_come_before_the_shared_ones(tmp_path: Path) -> None:
    edit = in_frame("PixelMeasuresSequence", PixelSpacing=[1.5, 1.25], SliceThickness=2.5)
    make_enhanced(tmp_path / "e.dcm", edit_frame=edit)
    assert read(tmp_path).spacing_mm == pytest.approx((1.25, 1.5, 2.5))


def test_phases_of_the_frames_are_volumes_of_their_own(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path / "e.dcm", chest((24, 20, 24)), order=list(range(24)))
    ds = pydicom.dcmread(path)
    for number, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        z = -300 + 2.5 * (number % 12)
        groups.PlanePositionSequence[0].ImagePositionPatient = [-100, -120, z]
        groups.FrameContentSequence[0].TemporalPositionIndex = 1 + number // 12
    ds.save_as(path)
    scans, _ = find(tmp_path)
    assert [scan.case.rsplit("-", 1)[1] for scan in scans] == ["1", "2"]
    for phase, scan in enumerate(scans):
        hu = chest((24, 20, 24))[:, :, 12 * phase : 12 * phase + 12]
        assert_volume(read_series(scan, ReadOptions()), hu, expected_affine_ras())


def test_several_enhanced_files_of_one_series_are_one_volume(tmp_path: Path) -> None:
    hu = chest((24, 20, 24))
    for part in range(2):
        origin = (-100.0, -120.0, -300.0 + 30 * part)
        make_enhanced(
            tmp_path / f"{part}.dcm", hu[:, :, 12 * part : 12 * part + 12], origin_lps=origin,
            SeriesInstanceUID="1.2.3", SOPInstanceUID=f"1.2.3.{part}",
        )  # fmt: skip
    assert_volume(read(tmp_path), hu, expected_affine_ras())


def test_a_missing_frame_is_a_gap(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "e.dcm", chest((24, 20, 14)), order=[k for k in range(14) if k != 6])
    assert refused(tmp_path).code == "dicom-gaps"


def test_a_repeated_frame_with_the_same_pixels_is_dropped(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "e.dcm", order=[*range(12), 5])
    volume = read(tmp_path)
    assert_volume(volume, chest(), expected_affine_ras())
    assert codes(volume) == ["duplicate-slices"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_fewer_frames_than_functional_groups_are_refused(tmp_path: Path, syntax: str) -> None:
    path = make_enhanced(tmp_path / "e.dcm", chest(LARGE), transfer_syntax=syntax)
    ds = pydicom.dcmread(path)
    if syntax == RLELossless:
        frames = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=12))
        ds.PixelData = pydicom.encaps.encapsulate(frames[:11])
    else:
        ds.PixelData = ds.PixelData[: -48 * 40 * 2]
    ds.save_as(path)
    error = refused(tmp_path)
    assert error.code in ("dicom-truncated", "dicom-decode")
    assert "e.dcm" in error.message


def test_frames_without_position_are_refused(tmp_path: Path) -> None:
    def remove(groups: Dataset, _k: int) -> None:
        del groups.PlanePositionSequence

    make_enhanced(tmp_path / "e.dcm", edit_frame=remove)
    assert refused(tmp_path).code == "dicom-no-position"


def test_padding_and_monochrome1_of_many_frames(tmp_path: Path) -> None:
    hu = chest()
    hu[:4, :4] = -2000 + 1024 - 1024
    make_enhanced(tmp_path / "e.dcm", hu, PixelPaddingValue=-976, PhotometricInterpretation="MONOCHROME1")
    expected = chest()
    expected[:4, :4] = -1024
    volume = read(tmp_path)
    assert_volume(volume, expected, expected_affine_ras())
    assert codes(volume) == ["pixel-padding"]


def test_a_perfusion_map_is_left_out(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "e.dcm", ImageType=["DERIVED", "PRIMARY", "PERFUSION", "RCBF"])
    scans, ignored = find(tmp_path)
    assert (scans, [item.code for item in ignored]) == ([], ["derived-view"])


def test_frames_may_be_stored_odd_ones_first(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "e.dcm", order=[*range(1, 12, 2), *range(0, 12, 2)])
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


def test_stacks_between_each_other_are_volumes_of_their_own(tmp_path: Path) -> None:
    hu = chest((24, 20, 24))

    def stack(groups: Dataset, k: int) -> None:
        groups.FrameContentSequence[0].StackID = str(k % 2)

    make_enhanced(tmp_path / "e.dcm", hu, edit_frame=stack)
    scans, _ = find(tmp_path)
    assert len(scans) == 2
    for first, scan in enumerate(scans):
        np.testing.assert_array_equal(read_series(scan, ReadOptions()).array_ijk, hu[:, :, first::2])
