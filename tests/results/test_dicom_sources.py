"""Every kind of source has a named outcome: results are written, or refused with a code; never an AttributeError."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
)

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom.grouping import normal_of
from tests.io.dicom_factory import AXIAL, chest, make_enhanced, make_series
from tests.io.nifti_factory import make_nifti
from tests.results.dicom_world import ALL, IDENTITY, read_only, view_of, write_all
from tests.results.test_dicom_maps import by_position, expected_mask, mask_by_position

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
ELSEWHERE = (
    "SliceThickness", "Manufacturer", "SeriesNumber", "InstanceNumber", "BodyPartExamined", "RescaleType", "ImageType",
    "PatientIdentityRemoved", "PositionReferenceIndicator",
)  # fmt: skip


def marked(folder: Path, **tags: Any) -> Path:
    make_series(folder, **{**IDENTITY, **tags})
    return folder


@pytest.mark.parametrize("keyword", [*TYPE_2, *ELSEWHERE])
def test_a_source_that_lacks_a_tag_gets_its_results(tmp_path: Path, keyword: str) -> None:
    view = view_of(read_only(marked(tmp_path / "ct", **{keyword: None})), labels=("nodule",))
    written = write_all(view, tmp_path / "out")
    objects = written.objects()
    assert len(objects) == 4
    for ds in objects:
        if keyword in TYPE_2:
            assert ds[keyword].is_empty
        else:
            assert ds.PatientName == IDENTITY["PatientName"]
    assert by_position(written.read("hirescam.label_0.pm.dcm"), view, "nodule", "stretch") > 0


def test_a_source_that_lacks_all_of_them_gets_its_results(tmp_path: Path) -> None:
    view = view_of(read_only(marked(tmp_path / "ct", **dict.fromkeys((*TYPE_2, *ELSEWHERE)))))
    for ds in write_all(view, tmp_path / "out").objects():
        assert all(ds[keyword].is_empty for keyword in TYPE_2)


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientBirthDate": "unknown"},
        {"PatientSex": "female"},
        {"StudyDate": "2020.01.02"},
        {"StudyTime": "03:04:05"},
        {"PatientName": "only one name"},
        {"StudyID": "far longer than the sixteen characters allowed"},
        {"Manufacturer": "x" * 90},
        {"SoftwareVersions": ["1", "2", "3"]},
        {"AcquisitionTime": "no time"},
        {"SeriesNumber": ""},
    ],
    ids=lambda tags: next(iter(tags)),
)
def test_values_that_are_not_valid_are_copied_as_they_stand(tmp_path: Path, tags: dict[str, Any]) -> None:
    (keyword,) = tags

    def edit(ds: Dataset, _k: int) -> None:
        if keyword == "PatientName":
            ds.PatientName = tags[keyword]
        else:
            ds[keyword]._value = tags[keyword]

    make_series(tmp_path / "ct", edit=edit, **{**IDENTITY, "AcquisitionTime": "010203"})
    view = view_of(read_only(tmp_path / "ct"), labels=("nodule",))
    for ds in write_all(view, tmp_path / "out").objects():
        if keyword in TYPE_2:
            assert str(ds[keyword].value) == tags[keyword]


def refusal(folder: Path, formats: tuple[str, ...] = ALL, **options: Any) -> str:
    view = view_of(read_only(folder, **options))
    with pytest.raises(ScanError) as caught:
        write_all(view, folder.parent / "refused", formats)
    assert caught.value.hint
    return caught.value.code


@pytest.mark.parametrize("format", ["dicom-pm", "dicom-seg", "dicom-sr"])
def test_without_a_frame_of_reference_nothing_is_placed(tmp_path: Path, format: str) -> None:
    folder = marked(tmp_path / "ct", FrameOfReferenceUID=None)
    assert refusal(folder, (format,)) == "dicom-no-frame-of-reference"


def test_slices_with_frames_of_reference_of_their_own_are_refused(tmp_path: Path) -> None:
    folder = marked(tmp_path / "ct", FrameOfReferenceUID=lambda k: f"1.2.3.{k + 1}")
    assert refusal(folder, ("dicom-pm",)) == "dicom-no-frame-of-reference"


def test_captures_do_without_a_frame_of_reference(tmp_path: Path) -> None:
    view = view_of(read_only(marked(tmp_path / "ct", FrameOfReferenceUID=None)))
    written = write_all(view, tmp_path / "out", ["dicom-sc"])
    assert all("FrameOfReferenceUID" not in ds for ds in written.objects())


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID"])
def test_a_source_without_uids_is_refused(tmp_path: Path, keyword: str) -> None:
    def edit(ds: Dataset, _k: int) -> None:
        if keyword in ds:
            delattr(ds, keyword)

    make_series(tmp_path / "ct", edit=edit, **IDENTITY)
    for format in ALL:
        assert refusal(tmp_path / "ct", (format,)) == "dicom-no-uid"


def test_a_scan_that_came_as_nifti_is_refused(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "scan.nii.gz")
    for format in ALL:
        assert refusal(path, (format,)) == "dicom-no-source"


def check_everything(folder: Path, out: Path, **options: Any) -> Any:
    """Write all formats and compare maps and masks by position; returns what was written."""
    view = view_of(read_only(folder, **options), labels=("nodule",))
    written = write_all(view, out)
    for made in written.made["dicom-pm"]:
        by_position(written.read(made.path), view, str(made.label), "stretch")
    for made in written.made["dicom-seg"]:
        found = mask_by_position(written.read(made.path), view)
        assert (found != expected_mask(view, str(made.label), 0.5)).sum() <= 2
    assert len([m for m in written.made["dicom-sc"] if m.label == "nodule"]) == view.volume.array_ijk.shape[2]
    return written


def references(ds: Dataset) -> set[str]:
    """The instances of the source that an object refers to."""
    (series,) = ds.ReferencedSeriesSequence
    return {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLosslessSV1,
    ],
)
def test_a_source_in_any_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    make_series(tmp_path / "ct", transfer_syntax=syntax, **IDENTITY)
    written = check_everything(tmp_path / "ct", tmp_path / "out")
    assert all(ds.PatientName == IDENTITY["PatientName"] for ds in written.objects())


def test_a_source_in_a_zip_archive(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", **IDENTITY)
    shutil.make_archive(str(tmp_path / "in" / "series"), "zip", tmp_path / "ct")
    written = check_everything(tmp_path / "in", tmp_path / "out")
    assert all(ds.PatientName == IDENTITY["PatientName"] for ds in written.objects())


def test_a_source_that_was_compressed_with_losses_says_so(tmp_path: Path) -> None:
    make_series(
        tmp_path / "ct",
        **{**IDENTITY, "LossyImageCompression": "01", "LossyImageCompressionRatio": "9.5"},
    )
    written = write_all(
        view_of(read_only(tmp_path / "ct")), tmp_path / "out", ["dicom-pm", "dicom-seg", "dicom-sc"]
    )
    for ds in written.objects():
        assert (ds.LossyImageCompression, float(ds.LossyImageCompressionRatio)) == ("01", 9.5)


def test_a_source_without_a_preamble(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", preamble=False, **IDENTITY)
    written = check_everything(tmp_path / "ct", tmp_path / "out")
    assert all(ds.PatientName == IDENTITY["PatientName"] for ds in written.objects())


@pytest.mark.parametrize("order", [None, list(range(12)), [3, 1, 2, 0, 4, 11, 6, 7, 10, 9, 8, 5]])
def test_an_enhanced_source(tmp_path: Path, order: list[int] | None) -> None:
    make_enhanced(tmp_path / "ct" / "e.dcm", order=order, **IDENTITY)
    written = check_everything(tmp_path / "ct", tmp_path / "out")
    frames = order or list(range(12))[::-1]
    ds = written.read("hirescam.label_0.seg.dcm")
    for group in ds.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        z = float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        assert frames[source.ReferencedFrameNumber - 1] == round((z + 300) / 2.5)
    capture = written.read("hirescam.label_0.sc/0001.dcm")
    # From head to feet: the first shows the uppermost slice.
    assert frames[capture.SourceImageSequence[0].ReferencedFrameNumber - 1] == 11
    assert len(references(ds)) == 1


def test_a_source_in_several_enhanced_files(tmp_path: Path) -> None:
    hu = chest((24, 20, 24))
    for part, start in enumerate((0, 12)):
        make_enhanced(
            tmp_path / "ct" / f"{part}.dcm", hu[:, :, start : start + 12],
            origin_lps=(-100.0, -120.0, -300.0 + 2.5 * start),
            **{**IDENTITY, "SeriesInstanceUID": "1.2.3", "SOPInstanceUID": f"1.2.3.{part}"},
        )  # fmt: skip
    written = check_everything(tmp_path / "ct", tmp_path / "out")
    assert references(written.read("hirescam.label_0.pm.dcm")) == {"1.2.3.0", "1.2.3.1"}


def test_a_tilted_source_lies_on_the_volumes_own_grid(tmp_path: Path) -> None:
    tilt = np.array([0.0, np.sin(np.deg2rad(15)), np.cos(np.deg2rad(15))])
    positions = [np.array([-100.0, -120.0, -300.0]) + k * 2.5 * tilt / tilt[2] for k in range(12)]
    make_series(tmp_path / "ct", positions_lps=positions, **IDENTITY)
    written = check_everything(tmp_path / "ct", tmp_path / "out")
    assert "gantry-tilt" in {warning.code for warning in written.view.volume.provenance.warnings}
    assert len(references(written.read("hirescam.label_0.pm.dcm"))) == 12
    assert "SourceImageSequence" not in written.read("hirescam.label_0.sc/0001.dcm")


def test_a_source_with_a_gap(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", chest((24, 20, 16)), skip=(7,), **IDENTITY)
    written = check_everything(tmp_path / "ct", tmp_path / "out", allow_gaps=True)
    assert len(references(written.read("hirescam.label_0.pm.dcm"))) == 15
    named = ["SourceImageSequence" in written.read(f"hirescam.label_0.sc/{n:04d}.dcm") for n in range(1, 17)]
    assert named == [n != 16 - 7 for n in range(1, 17)]


def test_a_source_with_every_slice_twice(tmp_path: Path) -> None:
    make_series(tmp_path / "ct" / "a", series_uid="1.2.3", **IDENTITY)
    make_series(
        tmp_path / "ct" / "b", series_uid="1.2.3", **{**IDENTITY, "SOPInstanceUID": lambda k: f"1.2.3.4.{k}"}
    )
    written = check_everything(tmp_path / "ct", tmp_path / "out")
    assert len(references(written.read("hirescam.label_0.pm.dcm"))) == 12


def test_slices_a_little_off_their_places(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    normal = normal_of(AXIAL)
    positions = [
        np.array([-100.0, -120.0, -300.0]) + (2.5 * k + rng.uniform(-0.05, 0.05)) * normal for k in range(12)
    ]
    make_series(tmp_path / "ct", positions_lps=positions, **IDENTITY)
    written = check_everything(tmp_path / "ct", tmp_path / "out")
    ds = written.read("hirescam.label_0.seg.dcm")
    sources = [
        len(g.DerivationImageSequence[0].SourceImageSequence) for g in ds.PerFrameFunctionalGroupsSequence
    ]
    assert set(sources) == {1}


def test_a_source_of_two_slices(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", chest((24, 20, 2)), **IDENTITY)
    written = check_everything(tmp_path / "ct", tmp_path / "out")
    assert len(references(written.read("hirescam.label_0.pm.dcm"))) == 2


def test_a_source_of_one_slice_is_no_scan(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", chest((24, 20, 1)), **IDENTITY)
    with pytest.raises(ScanError) as caught:
        read_only(tmp_path / "ct")
    assert caught.value.code == "not-3d"
