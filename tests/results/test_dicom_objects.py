"""What all objects share: validity, identity, flags, UIDs; and nothing in them changes from run to run."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.results.format import Style
from tests.io.dicom_factory import chest, make_enhanced, make_series
from tests.results.dicom_world import IDENTITY, Written, command, read_only, view_of, write_all
from tests.views import changed

FLAGS = ("PatientIdentityRemoved", "DeidentificationMethod", "LongitudinalTemporalInformationModified")


def write(folder: Path, out: str = "out", **tags: Any) -> Written:
    if not (folder / "ct").exists():
        make_series(folder / "ct", **{**IDENTITY, **tags})
    return write_all(view_of(read_only(folder / "ct"), methods=("hirescam", "cam")), folder / out)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(tmp_path_factory.mktemp("objects"))


def errors(path: Path) -> set[str]:
    """What dciodvfy calls an error, without the module, which differs from object to object."""
    done = subprocess.run([command("dciodvfy"), str(path)], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert any("Warning" in line or "Error" in line or line.strip() for line in lines)
    return {line for line in lines if line.startswith("Error")}


@pytest.mark.parametrize("kind", ["classic", "enhanced", "without a body part"])
def test_dciodvfy_finds_no_error_that_the_source_does_not_have(tmp_path: Path, kind: str) -> None:
    if kind == "enhanced":
        source = make_enhanced(tmp_path / "ct" / "e.dcm", **IDENTITY)
    else:
        part = None if kind == "without a body part" else "CHEST"
        source = make_series(tmp_path / "ct", **{**IDENTITY, "BodyPartExamined": part})[0]
    done = write_all(view_of(read_only(tmp_path / "ct"), methods=("hirescam", "cam")), tmp_path / "out")
    inherited = errors(source)
    for kind_made in done.made.values():
        for made in kind_made[:1]:
            assert errors(tmp_path / "out" / made.path) <= inherited, made.path


def test_objects_are_of_the_patient_and_study_of_the_source(written: Written) -> None:
    assert written.view.volume.dicom is not None
    for ds in written.objects():
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyID",
            "AccessionNumber",
        ):
            assert str(ds[keyword].value) == IDENTITY[keyword]
        assert ds.StudyInstanceUID == written.view.volume.dicom.study_uid
        assert ds.SeriesInstanceUID != written.view.volume.dicom.series_uid
        assert (
            ds.FrameOfReferenceUID == written.view.volume.dicom.frames_of_reference[0]
            if "Rows" in ds
            else True
        )


def test_flags_of_de_identification_are_on_all_of_them(written: Written) -> None:
    for ds in written.objects():
        for keyword in FLAGS:
            assert str(ds[keyword].value) == IDENTITY[keyword]


def test_they_say_what_they_are(written: Written) -> None:
    classes = {
        "pm": ("1.2.840.10008.5.1.4.1.1.30", "OT", ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]),
        "seg": ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", ["DERIVED", "PRIMARY"]),
        "sr": ("1.2.840.10008.5.1.4.1.1.88.34", "SR", None),
    }
    for ending, (sop_class, modality, image_type) in classes.items():
        (first, *_) = sorted(
            path for path in written.folder.iterdir() if path.name.endswith(f".{ending}.dcm")
        )
        ds = written.read(first.name)
        assert (ds.SOPClassUID, ds.Modality, ds.ContentQualification) == (sop_class, modality, "RESEARCH")
        assert image_type is None or list(ds.ImageType) == image_type
        assert "DEMONSTRATION MODEL" in ds.SeriesDescription
        assert "research use only" in ds.SeriesDescription
        assert len(ds.SeriesDescription) <= 64
        assert ds.Manufacturer == "hirescam"
        purposes = [
            item.PurposeOfReferenceCodeSequence[0].CodeValue for item in ds.ContributingEquipmentSequence
        ]
        assert purposes.count("109102") == 2
        assert purposes.count("109101") == 1


def test_methods_have_their_codes(written: Written) -> None:
    for method, code in (("hirescam", "130403"), ("cam", "130402")):
        ds = written.read(f"{method}.label_0.pm.dcm")
        mapping = ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
        assert (quantity.CodeValue, quantity.CodingSchemeDesignator) == (code, "DCM")
        assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)
        segment = written.read(f"{method}.label_0.seg.dcm").SegmentSequence[0]
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == code
        assert segment.SegmentAlgorithmType == "AUTOMATIC"


def test_all_source_instances_are_referred_to(written: Written) -> None:
    assert written.view.volume.dicom is not None
    expected = {instance.sop_uid for instance in written.view.volume.dicom.instances}
    for name in ("hirescam.label_0.pm.dcm", "hirescam.label_0.seg.dcm"):
        (series,) = written.read(name).ReferencedSeriesSequence
        assert series.SeriesInstanceUID == written.view.volume.dicom.series_uid
        assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == expected


def test_the_same_case_again_gives_the_same_bytes(written: Written) -> None:
    time.sleep(1.1)
    again = write(written.folder.parent, "again")
    files = sorted(path.relative_to(again.folder) for path in again.folder.rglob("*.dcm"))
    assert len(files) == 4 + 4 + 4 * 12 + 1
    for name in files:
        assert (again.folder / name).read_bytes() == (written.folder / name).read_bytes(), name


def uids(written: Written) -> set[str]:
    paths = [str(path.relative_to(written.folder)) for path in written.folder.rglob("*.dcm")]
    found = {str(written.read(path).SOPInstanceUID) for path in paths}
    assert len(found) == len(paths)
    assert all(re.fullmatch(r"2\.25\.[1-9][0-9]{20,38}", uid) for uid in found)
    return found


def test_every_object_has_a_uid_of_its_own_and_every_series_one(written: Written) -> None:
    assert len(uids(written)) == 4 + 4 + 4 * 12 + 1
    series = {ds.SeriesInstanceUID for ds in written.objects()}
    assert len(series) == 4 + 4 + 4 + 1


def test_other_options_and_other_scans_give_other_uids(written: Written, tmp_path: Path) -> None:
    known = uids(written)
    view = written.view
    run = msgspec.structs.replace(view.case.run, params_hash="1" * 64)
    assert not known & uids(write_all(changed(view, run=run), tmp_path / "options"))
    make_series(tmp_path / "ct", **{**IDENTITY, "StudyInstanceUID": "1.2.3"})
    assert not known & uids(write_all(view_of(read_only(tmp_path / "ct")), tmp_path / "scan"))
    placed = write_all(view, tmp_path / "placed", ["dicom-pm"], Style(placement="receptive-field"))
    assert not known & uids(placed)
    finer = write_all(view, tmp_path / "finer", ["dicom-seg"], Style(seg_fraction=0.4))
    assert not known & uids(finer)
    signed = write_all(view, tmp_path / "signed", ["dicom-sc"], Style(signed=True))
    assert not known & uids(signed)


def test_names_in_any_writing_are_kept(tmp_path: Path) -> None:
    names = {"PatientName": "Wang^XiaoDong=王^小东", "StudyDescription": "Größe"}
    done = write(tmp_path, SpecificCharacterSet="GB18030", **names)
    for ds in done.objects():
        assert str(ds.PatientName) == names["PatientName"]
        assert ds.StudyDescription == names["StudyDescription"]


@pytest.mark.parametrize(
    ("charset", "text"),
    [("ISO_IR 100", "Größe"), (["", "ISO 2022 IR 87"], "Basic 処理"), ("ISO_IR 192", "处理")],
)
def test_codes_of_de_identification_in_any_writing_are_kept(
    tmp_path: Path, charset: str | list[str], text: str
) -> None:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", text
    done = write(tmp_path, SpecificCharacterSet=charset, DeidentificationMethodCodeSequence=Sequence([item]))
    for ds in done.objects():
        assert ds.DeidentificationMethodCodeSequence[0].CodeMeaning == text


def test_the_clock_of_the_machine_that_renders_does_not_count(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        again = write(written.folder.parent, "elsewhere")
    finally:
        monkeypatch.undo()
        time.tzset()
    for path in again.folder.rglob("*.dcm"):
        assert path.read_bytes() == (written.folder / path.relative_to(again.folder)).read_bytes()


def test_labels_in_any_writing_are_kept(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", **IDENTITY)
    label = "Knötchen 结节 \\ [Größe] " + "sehr lang " * 9
    view = view_of(read_only(tmp_path / "ct"), labels=(label,))
    for ds in write_all(view, tmp_path / "out").objects():
        assert ds.SeriesDescription.endswith("(DEMONSTRATION MODEL, research use only)")
        assert len(ds.SeriesDescription) <= 64


def test_objects_with_long_headers_beside_their_series_do_not_count_as_damaged(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", chest((24, 20, 260)), (0.8, 0.7, 1.0), **IDENTITY)
    view = view_of(read_only(tmp_path / "ct"), labels=[f"finding {n}" for n in range(12)])
    write_all(view, tmp_path / "out", ["dicom-sr"])
    few = view_of(read_only(tmp_path / "ct"), labels=["finding"])
    write_all(few, tmp_path / "out", ["dicom-pm", "dicom-seg"], Style(grid="scan", seg_fraction=0.01))
    for path in (tmp_path / "out").iterdir():
        head = path.read_bytes()
        assert len(head) > 1 << 16, path.name
        path.rename(tmp_path / "ct" / path.name)
    found = discover([InputPath(tmp_path / "ct")], ReadOptions())
    assert {item.code for item in found.ignored} == {"parametric-map", "segmentation", "not-an-image"}
    (scan,) = found.scans
    assert read(scan, ReadOptions()).provenance.warnings == ()
