"""Nothing of a patient's identity passes the readers: not in provenance, warnings, errors, names or `inspect`.

Marked texts stand in every tag and header field that could hold identity; whatever reading says is searched for them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from hirescam_cli.cli.inspect import inspect_command
from hirescam_cli.errors import HirescamError
from hirescam_cli.inspection import inspect_inputs
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.model.spec import load_spec
from tests.io import dicom_factory as dcm
from tests.io.itk_factory import make_meta, make_nrrd
from tests.io.nifti_factory import chest_hu, make_nifti

MARK = "Zzyzx"
DATE = "19231117"
SERIES_UID = "1.2.826.0.1.3680043.10.999.777"
IDENTITY: dict[str, Any] = {
    "PatientName": f"{MARK}^Name", "PatientID": f"{MARK}-ID", "PatientBirthDate": DATE, "PatientAddress": f"{MARK} St",
    "OtherPatientIDs": f"{MARK}-2", "PatientComments": f"{MARK} comment", "AccessionNumber": f"{MARK}77",
    "StudyID": f"{MARK}S", "StudyDate": DATE, "SeriesDate": DATE, "AcquisitionDate": DATE, "ContentDate": DATE,
    "StudyDescription": f"{MARK} study", "SeriesDescription": f"{MARK} series", "ProtocolName": f"{MARK} protocol",
    "InstitutionName": f"{MARK} hospital", "InstitutionAddress": f"{MARK} town", "StationName": f"{MARK}ST",
    "ReferringPhysicianName": f"{MARK}^Doctor", "OperatorsName": f"{MARK}^Operator",
    "PhysiciansOfRecord": f"{MARK}^P", "ImageComments": f"{MARK} image", "DeviceSerialNumber": f"{MARK}9",
    "RequestedProcedureDescription": f"{MARK} request", "AdditionalPatientHistory": f"{MARK} history",
}  # fmt: skip
SHAPE, STEP = (16, 14, 12), (0.8, 0.7, 2.5)


def everything_said(path: Path, identifiers: str = "uids") -> str:
    """All that reading and inspecting an INPUT puts into words."""
    chosen: Any = identifiers
    found = discover([InputPath(path)], ReadOptions(), chosen)
    said = [repr([(s.case, s.name, s.kind) for s in found.scans]), repr(found.ignored)]
    for scan in found.scans:
        try:
            provenance = read(scan, ReadOptions()).provenance
            said += [provenance.kind, provenance.fingerprint, *map(str, provenance.warnings)]
        except HirescamError as error:
            said += [error.message, error.hint or "", error.code, str(error), repr(error)]
    document = inspect_inputs([InputPath(path)], ReadOptions(), load_spec("axialnet-83"), chosen).document()
    said.append(json.dumps(document, ensure_ascii=False))
    app = typer.Typer()
    app.command()(inspect_command)
    result = CliRunner().invoke(app, [str(path), "--model", "axialnet-83", "--identifiers", identifiers])
    said += [result.stdout, result.stderr, repr(result.exception)]
    return "\n".join(said)


def check_silence(path: Path, *more: str) -> None:
    for identifiers in ("uids", "none"):
        said = everything_said(path, identifiers)
        assert len(said) > 200
        for secret in (MARK, MARK.upper(), DATE, str(path.parent), *more):
            assert secret not in said, secret
    assert SERIES_UID not in everything_said(path, "none")


def marked_series(folder: Path, **options: Any) -> Path:
    dcm.make_series(folder, chest_hu(SHAPE), STEP, series_uid=SERIES_UID, **IDENTITY, **options)
    return folder


def test_the_marks_are_really_there(tmp_path: Path) -> None:
    data = b"".join(path.read_bytes() for path in marked_series(tmp_path / "ct").iterdir())
    assert data.count(MARK.encode()) > 12 * 15
    assert data.count(DATE.encode()) >= 12 * 5


def test_a_series_that_is_read(tmp_path: Path) -> None:
    path = marked_series(tmp_path / "ct")
    check_silence(path)
    assert SERIES_UID in everything_said(path, "uids")


@pytest.mark.parametrize(
    "options",
    [
        {"skip": (5, 6)},
        {"RescaleType": MARK},
        {"Modality": MARK.upper()},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR", MARK.upper()]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImagePositionPatient": None},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"PixelSpacing": None},
        {"FrameOfReferenceUID": lambda k: f"1.2.{19231117 + k % 2}"},
        {"RescaleSlope": 0},
        {"BitsStored": 99},
    ],
    ids=", ".join,
)
def test_series_that_are_refused_or_left_out(tmp_path: Path, options: dict[str, Any]) -> None:
    check_silence(marked_series(tmp_path / "ct", **options))


def test_a_series_cut_in_its_pixels(tmp_path: Path) -> None:
    path = marked_series(tmp_path / "ct")
    victim = sorted(path.iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:-100])
    check_silence(path)


def test_objects_that_are_no_scan(tmp_path: Path) -> None:
    for number, (modality, sop_class) in enumerate(
        [("SR", "1.2.840.10008.5.1.4.1.1.88.67"), ("MR", "1.2.840.10008.5.1.4.1.1.4"), ("CT", "1.2.3.4")]
    ):
        dcm.make_object(tmp_path / "in" / f"{number}.dcm", modality, sop_class, **IDENTITY)
    check_silence(tmp_path / "in")


def test_enhanced_ct(tmp_path: Path) -> None:
    path = dcm.make_enhanced(
        tmp_path / "e.dcm", chest_hu(SHAPE), STEP, SeriesInstanceUID=SERIES_UID, **IDENTITY
    )
    check_silence(path)


def test_private_tags(tmp_path: Path) -> None:
    def private(ds: Dataset, _: int) -> None:
        block = ds.private_block(0x0029, f"{MARK} PRIVATE", create=True)
        block.add_new(0x01, "LO", f"{MARK} private")

    check_silence(marked_series(tmp_path / "ct", edit=private))


@pytest.mark.parametrize("damage", [None, "cut", "4-D", "datatype", "transforms"])
@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii", "scan.hdr"])
def test_free_text_of_nifti_headers(tmp_path: Path, name: str, damage: str | None) -> None:
    texts: dict[str, Any] = {
        "descrip": f"{MARK} {DATE}".encode(),
        "aux_file": MARK.encode(),
        "intent_name": MARK.encode(),
    }
    texts |= {"db_name": MARK.encode(), "data_type": MARK.encode()}
    array = chest_hu()
    if damage == "4-D":
        array = np.stack([array, array], axis=-1)
    if damage == "datatype":
        texts |= {"datatype": 128, "bitpix": 24}
    if damage == "transforms":
        texts |= {"sform_code": 0}
    path = make_nifti(tmp_path / "in" / name, array, **texts)
    if damage == "cut":
        victim = path.with_suffix(".img") if name.endswith(".hdr") else path
        victim.write_bytes(victim.read_bytes()[:-9])
    check_silence(path)


def test_nifti_extensions(tmp_path: Path) -> None:
    text = f"{MARK} {DATE}".encode().ljust(24, b"\0")
    extension = (32).to_bytes(4, "little") + (6).to_bytes(4, "little") + text
    check_silence(make_nifti(tmp_path / "in" / "scan.nii", extension=extension))


def test_free_text_of_nrrd_and_metaimage(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_nrrd(tmp_path / "in" / "a.nrrd", content=f"{MARK} {DATE}", patient=MARK)
    make_nrrd(tmp_path / "in" / "b.nhdr", data=f"/home/{MARK}/b.raw")
    make_meta(tmp_path / "in" / "c.mha", Comment=f"{MARK} {DATE}", Name=MARK)
    make_meta(tmp_path / "in" / "d.mha", AcquisitionDate=DATE, ElementType=f"MET_{MARK}")
    make_meta(tmp_path / "in" / "e.mhd", data=f"/home/{MARK}/e.raw")
    for path in (tmp_path / "in").glob(f"*{MARK}*"):
        path.unlink()
    check_silence(tmp_path / "in")
