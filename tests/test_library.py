"""`ScanLibrary`: the scan of a case is found by its content, and read as it was read for the case."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset

from hirescam_cli.case.reload import FinishedCase
from hirescam_cli.errors import ScanError
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.library import ScanLibrary
from tests.io.dicom_factory import chest, make_enhanced, make_series
from tests.io.nifti_factory import make_nifti
from tests.views import make_case


def case_of(path: Path, number: int = 0, options: ReadOptions | None = None, **settings: Any) -> FinishedCase:
    """What a case made of the scan `number` below `path` tells of it."""
    options = options or ReadOptions()
    scan = discover([InputPath(path)], options).scans[number]
    volume = read(scan, options)
    source: dict[str, Any] = {
        "fingerprint": volume.provenance.fingerprint,
        "volume": scan.volume,
        "series_uid": scan.series_uid,
    }
    base = make_case(shape_lps=(12, 10, 8), side=12, slices=12).view.case
    case = msgspec.structs.replace(
        base,
        case=scan.case,
        input=msgspec.structs.replace(base.input, **source),
        run=msgspec.structs.replace(base.run, settings=settings),
    )
    return FinishedCase(path, case, {})


def library(*paths: Path) -> ScanLibrary:
    return ScanLibrary([InputPath(path) for path in paths], ReadOptions())


@dataclass
class Phases:
    path: Path
    hu: list[np.ndarray[Any, Any]]


@pytest.fixture
def phases(tmp_path: Path) -> Phases:
    """One enhanced file with two phases of the same place."""
    hu = chest((24, 20, 24))

    def edit(groups: Dataset, k: int) -> None:
        groups.FrameContentSequence[0].TemporalPositionIndex = 1 + k // 12
        groups.PlanePositionSequence[0].ImagePositionPatient = [-100.0, -120.0, -300.0 + 2.5 * (k % 12)]

    path = make_enhanced(tmp_path / "in" / "phases.dcm", hu, edit_frame=edit)
    return Phases(path, [hu[..., :12], hu[..., 12:]])


@pytest.mark.parametrize("number", [0, 1])
def test_the_phases_of_one_file_are_told_apart(phases: Phases, number: int) -> None:
    case = case_of(phases.path, number)
    assert case.case.input.volume == number
    np.testing.assert_array_equal(library(phases.path).volume_of(case).array_ijk, phases.hu[number])


def test_both_phases_from_one_library(phases: Phases) -> None:
    found = library(phases.path)
    for number in (1, 0):
        volume = found.volume_of(case_of(phases.path, number))
        np.testing.assert_array_equal(volume.array_ijk, phases.hu[number])


def test_a_damaged_series_beside_the_wanted_one_is_of_no_interest(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "good", chest())
    bad = make_series(tmp_path / "in" / "bad", chest(seed=1))
    case = case_of(tmp_path / "in" / "good")
    for path in bad:
        path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "in" / "worse.nii.gz").write_bytes(b"\x1f\x8b damaged")
    np.testing.assert_array_equal(library(tmp_path / "in").volume_of(case).array_ijk, chest())


def test_a_file_that_is_gone_is_of_no_interest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_series(tmp_path / "in" / "good", chest())
    gone = make_series(tmp_path / "in" / "a-gone", chest(seed=1))
    case = case_of(tmp_path / "in" / "good")
    found = library(tmp_path / "in")

    def search(*arguments: Any) -> Any:
        result = discover(*arguments)
        for path in gone:
            path.unlink(missing_ok=True)
        return result

    monkeypatch.setattr("hirescam_cli.library.discover", search)
    np.testing.assert_array_equal(found.volume_of(case).array_ijk, chest())


def test_the_wanted_scan_itself_being_damaged_is_said(tmp_path: Path) -> None:
    files = make_series(tmp_path / "in", chest())
    case = case_of(tmp_path / "in")
    for path in files:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ScanError, match="not among the inputs") as caught:
        library(tmp_path / "in").volume_of(case)
    assert caught.value.code == "scan-missing"


def test_a_case_of_a_folder_is_found_in_an_archive_and_the_other_way_round(tmp_path: Path) -> None:
    files = make_series(tmp_path / "folder", chest())
    archive = tmp_path / "zips" / "study.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for number, path in enumerate(reversed(files)):
            file.write(path, f"deep/{number}")
    for one, other in ((tmp_path / "folder", archive), (archive, tmp_path / "folder")):
        np.testing.assert_array_equal(library(other).volume_of(case_of(one)).array_ijk, chest())


def test_a_renamed_and_moved_nifti_is_found(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a" / "scan.nii")
    case = case_of(path)
    shutil.move(path, tmp_path / "other-name.nii")
    make_nifti(tmp_path / "another.nii", np.full((8, 8, 8), 7, np.int16) * np.arange(8, dtype=np.int16))
    assert library(tmp_path).volume_of(case).provenance.fingerprint == case.case.input.fingerprint


def test_a_series_that_was_asked_for_by_its_uid_is_found(tmp_path: Path) -> None:
    """A short series is left out of a search unless it is named."""
    make_series(tmp_path / "in", chest((24, 20, 4)), series_uid="1.2.3.4")
    case = case_of(tmp_path / "in", options=ReadOptions(series="1.2.3.4"))
    assert library(tmp_path / "in").volume_of(case).array_ijk.shape == (24, 20, 4)


def test_the_scan_is_read_as_it_was(tmp_path: Path) -> None:
    """A gap that was allowed then is allowed now, and was not for another case."""
    make_series(tmp_path / "in", chest(), skip=[5])
    case = case_of(tmp_path / "in", options=ReadOptions(allow_gaps=True), **{"allow-gaps": True})
    assert library(tmp_path / "in").volume_of(case).array_ijk.shape == (24, 20, 12)
    strict = case_of(tmp_path / "in", options=ReadOptions(allow_gaps=True), **{"allow-gaps": False})
    with pytest.raises(ScanError, match="misses slices"):
        library(tmp_path / "in").volume_of(strict)


def test_two_nifti_transforms_are_chosen_between_as_before(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "scan.nii")
    loaded: Any = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(loaded.dataobj).copy(), None, loaded.header)
    image.set_qform(np.diag([-3.0, -3.0, 3.0, 1.0]), 1)
    nibabel.save(image, path)
    for prefer in ("sform", "qform"):
        options = ReadOptions(prefer=prefer)  # type: ignore[arg-type]
        case = case_of(path, options=options, prefer=prefer)
        (scan,) = discover([InputPath(path)], options).scans
        np.testing.assert_array_equal(
            library(path).volume_of(case).affine_ras, read(scan, options).affine_ras
        )
