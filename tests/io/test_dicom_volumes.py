"""How series split into volumes, and which of them are asked for."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom import fingerprint_of, read_series
from hirescam_cli.io.fingerprint import combine, fingerprint
from hirescam_cli.io.scan import ReadOptions
from tests.io.dicom_case import assert_volume, codes, find, only, read, refused
from tests.io.dicom_factory import chest, expected_affine_ras, make_series, save, uid


def test_series_without_uid_are_told_apart_by_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_series(tmp_path / name, SeriesInstanceUID=None)
    scans, _ = find(tmp_path)
    assert [scan.case for scan in scans] == ["a", "b"]
    assert scans[0].series_uid is None


def two_phases(folder: Path, first: dict[str, Any], second: dict[str, Any], **same: Any) -> None:
    """Two volumes (seeds 0 and 1) under one series UID."""
    make_series(folder, chest(seed=0), prefix="a", series_uid="1.2.3", **same, **first)
    second = {"edit": other_instance, **second}
    make_series(folder, chest(seed=1), prefix="b", series_uid="1.2.3", **{**same, **second})


def other_instance(ds: Dataset, _k: int) -> None:
    """Another SOPInstanceUID than the first volume's slice at this position has."""
    ds.SOPInstanceUID = uid(ds.SOPInstanceUID, "second")


MULTI = [
    ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
    ({"AcquisitionNumber": 2}, {"AcquisitionNumber": 10}),
    ({"NominalPercentageOfCardiacPhase": 35.0}, {"NominalPercentageOfCardiacPhase": 75.0}),
    ({"TriggerTime": 100}, {"TriggerTime": 800}),
    ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}),
    (
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "A"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "B"]},
    ),
    ({"AcquisitionTime": "101500"}, {"AcquisitionTime": "101600"}),
]


@pytest.mark.parametrize(("first", "second"), MULTI)
def test_phases_of_one_series_are_volumes_of_their_own(tmp_path: Path, first: dict, second: dict) -> None:
    two_phases(tmp_path / "s", first, second)
    scans, _ = find(tmp_path)
    assert [scan.case for scan in scans] == ["s/1.2.3-1", "s/1.2.3-2"]
    for seed, scan in enumerate(scans):
        assert_volume(read_series(scan, ReadOptions()), chest(seed=seed), expected_affine_ras())


@pytest.mark.parametrize(("first", "second"), [*MULTI, ({"SliceThickness": 1}, {"SliceThickness": 5})])
def test_phases_between_each_other_are_never_interleaved(tmp_path: Path, first: dict, second: dict) -> None:
    make_series(tmp_path / "s", chest(seed=0), prefix="a", series_uid="1.2.3", **first)
    origin = (-100.0, -120.0, -298.75)
    make_series(tmp_path / "s", chest(seed=1), prefix="b", series_uid="1.2.3", origin_lps=origin, **second)
    scans, _ = find(tmp_path)
    assert len(scans) == 2
    assert_volume(read_series(scans[1], ReadOptions()), chest(seed=1), expected_affine_ras(origin_lps=origin))


@pytest.mark.parametrize("apart", [0, 12], ids=["numbered alike", "one after the other"])
@pytest.mark.parametrize("shift", [1.0, 0.6, 1.25])
def test_volumes_between_each_other_that_no_tag_tells_apart_are_refused(
    tmp_path: Path, shift: float, apart: int
) -> None:
    for number in range(2):
        make_series(
            tmp_path / "s", chest(seed=number), prefix=f"{number}", series_uid="1.2.3",
            origin_lps=(-100, -120, -300 + shift * number), InstanceNumber=lambda k, n=number: apart * n + k,
        )  # fmt: skip
    assert refused(tmp_path).code == "dicom-mixed"


def test_slices_numbered_in_any_even_order_are_one_volume(tmp_path: Path) -> None:
    make_series(tmp_path / "down", InstanceNumber=lambda k: 12 - k)
    make_series(tmp_path / "none", InstanceNumber=None)
    for name in ("down", "none"):
        assert_volume(read(tmp_path / name), chest(), expected_affine_ras())


@pytest.mark.parametrize("shift", [0.0, 40.0], ids=["between each other", "one above the other"])
def test_studies_of_one_series_uid_are_volumes_of_their_own(tmp_path: Path, shift: float) -> None:
    for number in range(2):
        make_series(
            tmp_path / "s", chest(seed=number), prefix=f"{number}", series_uid="1.2.3", edit=other_instance,
            origin_lps=(-100, -120, -300 + (1.25 + shift) * number), StudyInstanceUID=f"1.2.9.{number}",
        )  # fmt: skip
    scans, _ = find(tmp_path)
    assert len(scans) == 2
    for scan in scans:
        assert read_series(scan, ReadOptions()).array_ijk.shape == (24, 20, 12)


def test_thick_slices_between_thin_ones_are_a_volume_of_their_own(tmp_path: Path) -> None:
    make_series(tmp_path / "s", chest((24, 20, 40)), (0.8, 0.8, 1.0), series_uid="1.2.3", SliceThickness=1)
    thick = {"origin_lps": (-100, -120, -299.7), "edit": other_instance, "SliceThickness": 3}
    make_series(
        tmp_path / "s", chest(seed=1), (0.8, 0.8, 3.0), prefix="b", series_uid="1.2.3", **thick,
    )  # fmt: skip
    scans, _ = find(tmp_path)
    shapes = [read_series(scan, ReadOptions()).array_ijk.shape for scan in scans]
    assert shapes == [(24, 20, 40), (24, 20, 12)]


def test_a_tag_that_differs_in_one_slice_does_not_tear_a_volume_apart(tmp_path: Path) -> None:
    make_series(tmp_path, ConvolutionKernel=lambda k: "B70f" if k == 5 else "B30f")
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


def test_acquisitions_that_continue_each_other_are_one_volume(tmp_path: Path) -> None:
    make_series(tmp_path, AcquisitionNumber=lambda k: k // 4 + 1)
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


def test_a_slice_missing_between_short_acquisitions_is_a_gap(tmp_path: Path) -> None:
    make_series(tmp_path, chest((24, 20, 16)), AcquisitionNumber=lambda k: k // 4 + 1, skip=[8])
    assert refused(tmp_path).code == "dicom-gaps"


def test_two_regions_scanned_one_after_the_other_are_two_volumes(tmp_path: Path) -> None:
    z = [2.5 * k + (100 if k >= 12 else 0) for k in range(24)]
    make_series(
        tmp_path / "s", chest((24, 20, 24)), positions_lps=[(-100, -120, -300 + d) for d in z], series_uid="1.2.3",
        AcquisitionNumber=lambda k: 1 + k // 12,
    )  # fmt: skip
    scans, _ = find(tmp_path)
    assert [scan.case for scan in scans] == ["s/1.2.3-1", "s/1.2.3-2"]
    np.testing.assert_array_equal(
        read_series(scans[1], ReadOptions()).array_ijk, chest((24, 20, 24))[:, :, 12:]
    )


@pytest.mark.parametrize(
    "other",
    [
        {"FrameOfReferenceUID": "1.2.77"},
        {"orientation": (1, 0, 0, 0, 0, -1)},
        {"spacing_ijk": (0.9, 0.7, 2.5)},
        {"hu_ijk": chest((26, 20, 12), seed=1)},
    ],
)
def test_geometries_of_one_series_are_volumes_of_their_own(tmp_path: Path, other: dict[str, Any]) -> None:
    make_series(tmp_path / "s", chest(), prefix="a", series_uid="1.2.3")
    make_series(tmp_path / "s", **{"hu_ijk": chest(seed=1), "prefix": "b", "series_uid": "1.2.3", **other})
    scans, _ = find(tmp_path)
    assert sorted(scan.case for scan in scans) == ["s/1.2.3-1", "s/1.2.3-2"]
    volumes = [read_series(scan, ReadOptions()) for scan in scans]
    expected = [chest(), other.get("hu_ijk", chest(seed=1))]
    assert any(np.array_equal(volumes[0].array_ijk, hu) for hu in expected)
    assert any(np.array_equal(volumes[1].array_ijk, hu) for hu in expected)
    assert not np.array_equal(volumes[0].array_ijk, volumes[1].array_ijk)


def test_two_volumes_that_no_tag_tells_apart_are_refused(tmp_path: Path) -> None:
    two_phases(tmp_path / "s", {}, {})
    error = refused(tmp_path)
    assert error.code == "dicom-mixed"
    assert "two slices of different content at one position" in error.message


@pytest.mark.parametrize("new_uid", [True, False])
def test_duplicates_with_the_same_pixels_are_dropped_with_a_warning(tmp_path: Path, new_uid: bool) -> None:
    paths = make_series(tmp_path)
    for number in (3, 7):
        copy = tmp_path / f"copy{number}.dcm"
        shutil.copy(paths[number], copy)
        if new_uid:
            ds = pydicom.dcmread(copy)
            ds.SOPInstanceUID = uid("copy", number)
            ds.save_as(copy)
    volume = read(tmp_path)
    assert_volume(volume, chest(), expected_affine_ras())
    assert tuple(map(str, volume.provenance.warnings)) == (
        "duplicate-slices: 2 slices were there twice with the same pixels.",
    )
    (tmp_path / "copy7.dcm").unlink()
    assert tuple(map(str, read(tmp_path).provenance.warnings)) == (
        "duplicate-slices: 1 slice was there twice with the same pixels.",
    )


def test_a_duplicate_with_other_pixels_is_refused(tmp_path: Path) -> None:
    paths = make_series(tmp_path)
    ds = pydicom.dcmread(paths[3])
    ds.PixelData = bytes([ds.PixelData[0] ^ 1]) + ds.PixelData[1:]
    save(ds, tmp_path / "copy.dcm")
    assert refused(tmp_path).code == "dicom-mixed"


def test_many_slices_at_one_position_are_refused(tmp_path: Path) -> None:
    make_series(tmp_path, positions_lps=[(0, 0, 0)] * 12, series_uid="1.2.3")
    assert refused(tmp_path, series="1.2.3").code == "dicom-mixed"


def test_the_largest_volume_of_each_study(tmp_path: Path) -> None:
    make_series(tmp_path / "a" / "thin", chest((24, 20, 14)), series_uid="1.1")
    make_series(tmp_path / "a" / "wide", chest((30, 30, 12)), series_uid="1.2")
    make_series(tmp_path / "b", chest((24, 20, 11)), series_uid="1.3", StudyInstanceUID="1.99")
    make_series(tmp_path / "c", chest((24, 22, 11)), series_uid="1.4", StudyInstanceUID="1.99")
    scans, ignored = find(tmp_path, series="largest")
    assert [scan.case for scan in scans] == ["a/thin", "c"]
    assert {(item.name, item.code) for item in ignored} == {("a/wide", "not-selected"), ("b", "not-selected")}


def test_a_series_by_its_uid(tmp_path: Path) -> None:
    make_series(tmp_path / "a", series_uid="1.1")
    make_series(tmp_path / "b", series_uid="1.2")
    scans, ignored = find(tmp_path, series="1.2")
    assert [scan.case for scan in scans] == ["b"]
    assert [(item.name, item.code) for item in ignored] == [("a", "not-selected")]


def test_names_do_not_depend_on_what_is_asked_for(tmp_path: Path) -> None:
    make_series(tmp_path / "s", series_uid="1.1", prefix="x")
    make_series(tmp_path / "s", chest((24, 20, 4)), series_uid="1.2", prefix="y")
    assert only(tmp_path).case == "s/1.1"
    assert only(tmp_path, series="1.1").case == "s/1.1"
    assert only(tmp_path, series="1.2").case == "s/1.2"


def test_scans_travel_between_processes(tmp_path: Path) -> None:
    make_series(tmp_path)
    scan = pickle.loads(pickle.dumps(only(tmp_path)))
    assert_volume(read_series(scan, ReadOptions()), chest(), expected_affine_ras())
    assert len(pickle.dumps(scan)) < 20_000


def test_the_fingerprint_is_of_the_bytes_alone(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "a")
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    expected = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    assert read(tmp_path).provenance.fingerprint == expected == fingerprint(paths)
    assert fingerprint_of(only(tmp_path)) == expected
    for number, path in enumerate(paths):
        path.rename(tmp_path / "a" / f"{99 - number}.x")
    assert read(tmp_path).provenance.fingerprint == expected
    assert combine(["ab"]) == "ab"


def test_a_file_that_vanished_is_an_error_of_the_scan(tmp_path: Path) -> None:
    paths = make_series(tmp_path)
    scan = only(tmp_path)
    paths[5].unlink()
    with pytest.raises(ScanError, match=paths[5].name) as caught:
        read_series(scan, ReadOptions())
    assert caught.value.code == "unreadable-file"
    assert codes(read(tmp_path, allow_gaps=True)) == ["interpolated-gaps"]
