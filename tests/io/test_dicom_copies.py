"""A series in several folders: parts of one scan, or copies that are scans of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.errors import ScanError
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from tests.io.dicom_factory import chest, make_series


def test_copies_of_a_series_are_scans_of_their_own(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "a" / "ct", chest())
    shutil.copytree(tmp_path / "in" / "a", tmp_path / "in" / "b")
    shutil.make_archive(str(tmp_path / "in" / "c"), "zip", tmp_path / "in" / "a" / "ct")
    found = discover([InputPath(tmp_path / "in")], ReadOptions())
    assert [scan.case for scan in found.scans] == ["a/ct", "b/ct", "c"]
    volumes = [read(scan, ReadOptions()) for scan in found.scans]
    assert len({volume.provenance.fingerprint for volume in volumes}) == 1
    for volume in volumes:
        np.testing.assert_array_equal(volume.array_ijk, chest())
        assert tuple(map(str, volume.provenance.warnings)) == ()


def test_parts_of_a_series_are_one_scan(tmp_path: Path) -> None:
    files = make_series(tmp_path / "in" / "one", chest())
    (tmp_path / "in" / "two").mkdir()
    for path in files[::2]:
        path.rename(tmp_path / "in" / "two" / path.name)
    (scan,) = discover([InputPath(tmp_path / "in")], ReadOptions()).scans
    assert scan.case == "in"
    np.testing.assert_array_equal(read(scan, ReadOptions()).array_ijk, chest())


def test_a_slice_that_lies_in_both_parts_of_a_series_is_counted_once(tmp_path: Path) -> None:
    files = make_series(tmp_path / "in" / "one", chest())
    (tmp_path / "in" / "two").mkdir()
    for path in files[6:]:
        path.rename(tmp_path / "in" / "two" / path.name)
    shutil.copy(files[0], tmp_path / "in" / "two" / "again.dcm")
    (scan,) = discover([InputPath(tmp_path / "in")], ReadOptions()).scans
    volume = read(scan, ReadOptions())
    np.testing.assert_array_equal(volume.array_ijk, chest())
    assert [warning.code for warning in volume.provenance.warnings] == ["duplicate-slices"]


def test_a_damaged_slice_at_the_end_is_said(tmp_path: Path) -> None:
    files = make_series(tmp_path / "in" / "ct", chest())
    files[-1].write_bytes(b"")
    (scan,) = discover([InputPath(tmp_path / "in")], ReadOptions()).scans
    volume = read(scan, ReadOptions())
    assert volume.array_ijk.shape[2] == chest().shape[2] - 1
    (warning,) = map(str, volume.provenance.warnings)
    assert warning.startswith(
        f"damaged-neighbours: 1 file beside the series could not be read ({files[-1].name});"
    )
    files[0].write_bytes(files[0].read_bytes()[:180])
    (scan,) = discover([InputPath(tmp_path / "in" / "ct")], ReadOptions()).scans
    (warning,) = map(str, read(scan, ReadOptions()).provenance.warnings)
    assert "2 files" in warning
    assert files[0].name in warning


def test_damaged_images_without_a_series_fail_and_are_not_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "notes.txt").write_text("nothing to read")
    (files,) = [make_series(tmp_path / "ct", chest())]
    (folder / "cut").write_bytes(files[0].read_bytes()[:600])
    (folder / "study.zip").write_bytes(b"PK\x03\x04" + bytes(60))
    found = discover([InputPath(folder)], ReadOptions())
    assert [scan.case for scan in found.scans] == ["cut", "empty", "study"]
    assert [item.name for item in found.ignored] == ["notes.txt"]
    codes = []
    for scan in found.scans:
        with pytest.raises(ScanError) as caught:
            read(scan, ReadOptions())
        assert scan.name in caught.value.message
        codes.append(caught.value.code)
    assert codes == ["dicom-broken", "not-an-image", "zip-broken"]


def test_a_listed_path_that_is_gone_is_one_failure(tmp_path: Path) -> None:
    gone = InputPath(tmp_path / "gone.nii", "case-7", listed=True)
    (scan,) = discover([gone], ReadOptions()).scans
    assert scan.case == "case-7"
    with pytest.raises(ScanError, match=r"gone\.nii is in the list but does not exist") as caught:
        read(scan, ReadOptions())
    assert caught.value.code == "no-such-path"


@pytest.mark.parametrize(
    ("name", "warned"), [("IM0011", True), ("IM0099", True), ("VERSION", False), ("notes.txt", False)]
)
def test_what_is_called_like_a_slice_beside_it_may_be_one(tmp_path: Path, name: str, warned: bool) -> None:
    files = make_series(tmp_path / "in" / "ct", chest())
    for number, path in enumerate(files):
        path.rename(path.with_name(f"IM{number:04d}"))
    (tmp_path / "in" / "ct" / name).write_bytes(bytes(5000))
    (scan,) = discover([InputPath(tmp_path / "in")], ReadOptions()).scans
    assert [warning.code for warning in scan.warnings] == (["damaged-neighbours"] if warned else [])


def test_a_damaged_image_below_a_series_does_not_become_a_case_inside_its_case(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "ct", chest())
    (tmp_path / "in" / "ct" / "x").mkdir()
    (tmp_path / "in" / "ct" / "x" / "cut.dcm").write_bytes(b"junk" * 50)
    found = discover([InputPath(tmp_path / "in")], ReadOptions())
    assert [scan.case for scan in found.scans] == ["ct"]
    assert [warning.code for warning in found.scans[0].warnings] == ["damaged-neighbours"]
    assert [item.name for item in found.ignored] == ["ct/x/cut.dcm"]


def test_a_series_in_a_folder_above_another_is_called_after_folder_and_uid(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "ct", chest(), series_uid="1.2.3")
    make_series(tmp_path / "in" / "ct" / "thin", chest(seed=1), series_uid="1.2.4")
    found = discover([InputPath(tmp_path / "in")], ReadOptions())
    assert [scan.case for scan in found.scans] == ["ct/1.2.3", "ct/thin"]
