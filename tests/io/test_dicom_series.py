"""Which DICOM files become scans: what is left out and why, how cases are named."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hirescam_cli.errors import ScanError
from hirescam_cli.io import InputPath, discover
from hirescam_cli.io import read as read_scan
from hirescam_cli.io.dicom import is_dicom, read_series
from hirescam_cli.io.scan import ReadOptions
from tests.io.dicom_case import assert_volume, codes, find, only, read
from tests.io.dicom_factory import CT, chest, expected_affine_ras, make_object, make_series

SC = "1.2.840.10008.5.1.4.1.1.7"


STORAGE = "1.2.840.10008.5.1.4.1.1."


@pytest.mark.parametrize(
    ("modality", "sop_class", "tags", "code"),
    [
        ("OT", SC, {}, "secondary-capture"),
        ("CT", SC, {}, "secondary-capture"),
        ("CT", SC + ".2", {}, "secondary-capture"),
        ("SR", STORAGE + "88.67", {}, "dose-report"),
        ("SR", STORAGE + "88.33", {}, "not-an-image"),
        ("RTSTRUCT", STORAGE + "481.3", {}, "rt-object"),
        ("RTDOSE", STORAGE + "481.2", {}, "rt-object"),
        ("RTPLAN", STORAGE + "481.5", {}, "rt-object"),
        ("SEG", STORAGE + "66.4", {}, "segmentation"),
        ("CT", STORAGE + "66.4", {}, "segmentation"),
        ("SEG", CT, {}, "segmentation"),
        ("REG", STORAGE + "66.1", {}, "segmentation"),
        ("PR", STORAGE + "11.1", {}, "not-an-image"),
        ("KO", STORAGE + "88.59", {}, "not-an-image"),
        ("DOC", STORAGE + "104.1", {}, "not-an-image"),
        ("MR", STORAGE + "4", {}, "not-ct"),
        ("CR", STORAGE + "1", {}, "not-ct"),
        ("PT", STORAGE + "128", {}, "not-ct"),
        ("MR", CT, {}, "not-ct"),
        (None, None, {}, "not-ct"),
        ("CT", CT, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ("CT", CT, {"ImageType": ["DERIVED", "PRIMARY", "SCOUT"]}, "localizer"),
        ("CT", CT, {"ImageType": ["DERIVED", "SECONDARY", "SEGMENTATION"]}, "label-map"),
        ("CT", CT, {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "secondary-capture"),
        ("CT", CT, {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "not-an-image"),
        ("CT", CT, {"PhotometricInterpretation": "PALETTE COLOR"}, "not-an-image"),
        ("CT", CT, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "label-map"),
        ("CT", CT, {"BitsStored": 1, "HighBit": 0}, "label-map"),
        ("CT", CT, {"Rows": None}, "dicom-broken"),
        ("CT", CT, {"PixelData": None}, "dicom-broken"),
    ],
)
def test_what_is_no_ct_slice_is_left_out_with_a_reason(
    tmp_path: Path, modality: str | None, sop_class: str | None, tags: dict[str, Any], code: str
) -> None:
    make_series(tmp_path / "ct")
    make_object(tmp_path / "ct" / "extra", modality or "CT", sop_class or CT, **tags)
    if modality is None:
        ds = pydicom.dcmread(tmp_path / "ct" / "extra")
        del ds.Modality, ds.SOPClassUID
        ds.save_as(tmp_path / "ct" / "extra")
    scans, ignored = find(tmp_path)
    assert [scan.case for scan in scans] == ["ct"]
    assert [(item.name, item.code) for item in ignored] == [("ct/extra", code)]
    assert ignored[0].reason.startswith("ct/extra is ")


def test_a_dicomdir_is_left_out(tmp_path: Path) -> None:
    make_series(tmp_path / "ct")
    path = make_object(tmp_path / "ct" / "DICOMDIR", "CT", "1.2.840.10008.1.3.10")
    ds = pydicom.dcmread(path)
    del ds.Modality, ds.SOPClassUID, ds.PixelData, ds.Rows
    ds.save_as(path)
    scans, ignored = find(tmp_path)
    assert [scan.case for scan in scans] == ["ct"]
    assert [(item.name, item.code) for item in ignored] == [("ct/DICOMDIR", "dicomdir")]


def test_a_large_object_of_another_modality_is_left_out(tmp_path: Path) -> None:
    make_series(tmp_path / "ct")
    make_object(tmp_path / "ct" / "seg", "SEG", STORAGE + "66.4", EncapsulatedDocument=bytes(100_000))
    assert [(item.name, item.code) for item in find(tmp_path)[1]] == [("ct/seg", "segmentation")]


def test_ct_without_a_sop_class_is_read(tmp_path: Path) -> None:
    make_series(tmp_path, SOPClassUID=None)
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


def test_ct_without_a_modality_is_read(tmp_path: Path) -> None:
    make_series(tmp_path, Modality=None)
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


@pytest.mark.parametrize("value", ["MPR", "CSA MPR", "CT_SOM7 MPR", "REFORMATTED", "MIP", "PERFUSION"])
def test_reformats_are_read_only_when_asked_for(tmp_path: Path, value: str) -> None:
    make_series(tmp_path, series_uid="1.2.3", ImageType=["DERIVED", "SECONDARY", value])
    scans, ignored = find(tmp_path)
    assert (scans, [item.code for item in ignored]) == ([], ["derived-view"])
    assert_volume(read(tmp_path, series="1.2.3"), chest(), expected_affine_ras())


def test_a_reformat_of_one_slice_cannot_be_asked_for(tmp_path: Path) -> None:
    make_series(tmp_path, chest((24, 20, 1)), ImageType=["DERIVED", "SECONDARY", "MPR"])
    _, ignored = find(tmp_path)
    assert [item.code for item in ignored] == ["derived-view"]
    assert "--series" not in ignored[0].reason


def test_files_of_a_series_given_one_by_one_lead_to_its_folder(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "ct", series_uid="1.2.3")
    given = [InputPath(path) for path in paths]
    found = discover(given, ReadOptions())
    assert (found.scans, {item.code for item in found.ignored}) == ((), {"few-slices"})
    assert len(found.ignored) == len(paths)
    assert all("give the folder that holds its whole series" in item.reason for item in found.ignored)
    chosen = ReadOptions(series="1.2.3")
    scans = discover(given, chosen).scans
    assert len(scans) == len(paths)
    for scan in scans:
        with pytest.raises(ScanError, match="24x20x1 voxels") as caught:
            read_scan(scan, chosen)
        assert caught.value.code == "not-3d"
        assert caught.value.hint == "Give the folder that holds the whole series, not single files of it."


def test_a_lossy_or_anonymised_copy_is_no_reformat(tmp_path: Path) -> None:
    make_series(tmp_path, ImageType=["DERIVED", "PRIMARY", "AXIAL"])
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


@pytest.mark.parametrize("count", [1, 9, 10])
def test_fewer_than_ten_slices_are_read_only_when_asked_for(tmp_path: Path, count: int) -> None:
    hu = chest((24, 20, count))
    make_series(tmp_path, hu, series_uid="1.2.3")
    scans, ignored = find(tmp_path)
    assert len(scans) == (count >= 10)
    assert [item.code for item in ignored] == ["few-slices"] * (count < 10)
    expected = {
        1: "has 1 slice, fewer than 10; one alone is no volume: give the folder that holds its whole series.",
        9: "has 9 slices, fewer than 10; --series 1.2.3 explains it all the same.",
    }
    assert all(item.reason.endswith(expected[count]) for item in ignored)
    assert_volume(read(tmp_path, series="1.2.3"), hu, expected_affine_ras())


@pytest.mark.parametrize("series", ["all", "largest"])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": None, "RescaleIntercept": None}])
def test_a_mask_of_16_bits_stored_as_ct_is_left_out(tmp_path: Path, series: str, rescale: dict) -> None:
    labels = np.zeros((24, 20, 12), np.int16)
    labels[4:9, 5:12, 3:8] = 7
    labels[12:14, 5:12, 3:8] = 250
    make_series(tmp_path, labels, intercept=0, series_uid="1.2.3", **rescale)
    scans, ignored = find(tmp_path, series=series)
    assert (scans, [item.code for item in ignored]) == ([], ["label-map"])
    assert "values-not-hu" in codes(read(tmp_path, series="1.2.3"))


def test_ct_without_a_rescale_is_no_mask(tmp_path: Path) -> None:
    make_series(tmp_path, chest((64, 60, 12)) + 1024, intercept=0)
    assert_volume(read(tmp_path), chest((64, 60, 12)) + 1024, expected_affine_ras())


def test_extensions_are_ignored_and_other_files_passed_over(tmp_path: Path) -> None:
    for number, path in enumerate(make_series(tmp_path)):
        path.rename(path.with_suffix(["", ".jpg", ".nii", ".1"][number % 4]))
    (tmp_path / "notes.dcm").write_text("no DICOM")
    (tmp_path / "empty.dcm").write_bytes(b"")
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("preamble", [True, False])
def test_dicom_is_recognised_by_its_bytes(tmp_path: Path, syntax: str, preamble: bool) -> None:
    path = make_series(tmp_path, suffix=".txt", transfer_syntax=syntax, preamble=preamble)[0]
    assert is_dicom(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 200, b"\x08\x00", b"hello world " * 40, b"\x08\x00\x05\x00" * 40, b"PK\x03\x04" * 50],
)
def test_other_files_are_no_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.dcm").write_bytes(content)
    assert not is_dicom(tmp_path / "x.dcm")
    assert not is_dicom(tmp_path / "absent.dcm")


def test_a_broken_header_fails_alone_and_by_name(tmp_path: Path) -> None:
    make_series(tmp_path / "ct")
    data = next((tmp_path / "ct").iterdir()).read_bytes()
    (tmp_path / "ct" / "cut.dcm").write_bytes(data[:300])
    (tmp_path / "ct" / "bad.dcm").write_bytes(data[:140] + b"\xff" * 400)
    scans, ignored = find(tmp_path)
    assert len(scans) == 1
    assert {item.name for item in ignored} == {"ct/bad.dcm", "ct/cut.dcm"}
    assert_volume(read_series(scans[0], ReadOptions()), chest(), expected_affine_ras())


def test_names_follow_the_folders(tmp_path: Path) -> None:
    make_series(tmp_path / "a" / "one", series_uid="1.2.1")
    make_series(tmp_path / "b", series_uid="1.2.2", prefix="x")
    make_series(tmp_path / "b", series_uid="1.2.3", prefix="y")
    make_object(tmp_path / "a" / "one" / "sc.dcm", "OT", SC)
    scans, _ = find(tmp_path)
    assert [scan.case for scan in scans] == ["a/one", "b/1.2.2", "b/1.2.3"]
    assert [scan.series_uid for scan in scans] == ["1.2.1", "1.2.2", "1.2.3"]
    assert all(scan.root == tmp_path and scan.kind == "dicom" for scan in scans)


def test_the_input_folder_gives_its_own_name(tmp_path: Path) -> None:
    make_series(tmp_path / "patient")
    assert only(tmp_path / "patient").case == "patient"


def test_a_single_file_gives_its_stem(tmp_path: Path) -> None:
    path = make_series(tmp_path, series_uid="1.2.3")[4]
    assert only(path, series="1.2.3").case == path.stem


def test_a_series_spread_over_folders_is_one_scan_of_their_common_folder(tmp_path: Path) -> None:
    for number, path in enumerate(make_series(tmp_path / "s" / "p")):
        target = tmp_path / "s" / f"part{number % 3}" / "deep"
        target.mkdir(parents=True, exist_ok=True)
        path.rename(target / path.name)
    scan = only(tmp_path)
    assert scan.case == "s"
    assert_volume(read_series(scan, ReadOptions()), chest(), expected_affine_ras())


def test_without_identifiers_names_hold_a_hash_of_the_uid(tmp_path: Path) -> None:
    for series in ("1.2.2", "1.2.3"):
        make_series(tmp_path / "b", series_uid=series, prefix=series)
    scans, _ = find(tmp_path, identifiers="none")
    hashes = sorted(hashlib.sha256(series.encode()).hexdigest()[:8] for series in ("1.2.2", "1.2.3"))
    assert [scan.case for scan in scans] == [f"b/series-{part}" for part in hashes]
    assert all("1.2." not in scan.case + scan.name for scan in scans)


def test_a_series_uid_that_is_no_uid_never_becomes_a_path(tmp_path: Path) -> None:
    make_series(tmp_path / "b", series_uid="1.2.2", prefix="x")
    make_series(tmp_path / "b", prefix="y", SeriesInstanceUID="../../Doe^Jane")
    scans, _ = find(tmp_path)
    assert len(scans) == 2
    assert all(".." not in scan.case and "Doe" not in scan.case for scan in scans)
