"""DICOM results from the command line: written, rendered again, refused, and passed over beside their scan."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pydicom
import pytest

from hirescam_cli.results import write as writing
from tests.batch.world import make_model, make_scan
from tests.cli.command import Result, hirescam
from tests.io.dicom_factory import chest, make_series

ALL = "dicom-pm,dicom-sr,dicom-sc,dicom-seg"
MARKS = {"PatientName": "MARKNAME^ALICE", "PatientID": "MARKID-4711", "PatientBirthDate": "19010203"}
CODES = '\n[labels.codes]\nmass = { scheme = "SCT", value = "4147007", meaning = "Mass" }\n'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


def series(folder: Path, seed: int = 0, **tags: object) -> Path:
    make_series(folder, chest((24, 20, 12), seed=seed), (8.0, 8.0, 8.0), **{**MARKS, **tags})  # type: ignore[arg-type]
    return folder


def explain(
    capsys: pytest.CaptureFixture[str], inputs: Path, model: Path, out: Path, *more: object
) -> Result:
    return hirescam(
        capsys,
        "explain",
        inputs,
        "-o",
        out,
        "--model",
        model,
        "--jobs",
        0,
        "--device",
        "cpu",
        "--labels",
        "all",
        *more,
    )


def test_all_four_are_written_and_rendered_the_same(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = series(tmp_path / "ct")
    done = explain(capsys, scan, model, tmp_path / "out", "--format", ALL)
    assert done.code == 0, done.err
    case = tmp_path / "out" / "ct"
    summary = json.loads((case / "summary.json").read_text())
    written = sorted(path.relative_to(case).as_posix() for path in case.rglob("*.dcm"))
    told = sorted(output["path"] for output in summary["outputs"] if output["role"] == "dicom")
    assert written == told
    labels = [label["slug"] for label in summary["labels"]]
    expected = {"report.sr.dcm"} | {f"hirescam.{slug}.{end}.dcm" for slug in labels for end in ("pm", "seg")}
    assert expected <= set(written)
    bytes_before = {name: (case / name).read_bytes() for name in written}
    again = hirescam(
        capsys, "render", case, "--scan", scan, "--format", ALL, "--labels", "all", "--method", "hirescam"
    )
    assert again.code == 0, again.err
    for name, content in bytes_before.items():
        assert (case / name).read_bytes() == content, name


def test_only_dicom_files_name_the_patient(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = series(tmp_path / "ct", PatientSex="MARKSEX is no sex"[:16])
    log = tmp_path / "run.log"
    done = explain(capsys, scan, model, tmp_path / "out", "--format", ALL, "-v", "--log-file", log)
    assert done.code == 0, done.err
    said = done.out + done.err + log.read_text()
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".dcm"]
    for text in [said.encode(), *(path.read_bytes() for path in files)]:
        assert b"MARK" not in text
        assert b"19010203" not in text
    assert pydicom.dcmread(tmp_path / "out" / "ct" / "report.sr.dcm").PatientName == MARKS["PatientName"]


def test_results_beside_their_scan_are_read_as_if_they_were_not_there(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = series(tmp_path / "ct")
    assert explain(capsys, scan, model, tmp_path / "out", "--format", ALL).code == 0
    before = json.loads(hirescam(capsys, "inspect", scan, "--json").out)
    for path in (tmp_path / "out" / "ct").rglob("*.dcm"):
        shutil.copy(path, scan / path.relative_to(tmp_path / "out").as_posix().replace("/", "_"))
    after = json.loads(hirescam(capsys, "inspect", scan, "--json").out)
    assert after["scans"] == before["scans"]
    codes = {entry["code"] for entry in after["ignored"]}
    assert codes == {"parametric-map", "segmentation", "secondary-capture", "not-an-image"}
    again = explain(capsys, scan, model, tmp_path / "out", "--format", ALL)
    assert again.code == 0
    assert "0 done, 1 already there" in again.err


def test_the_codes_of_a_model_file_are_in_the_report(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.write_text(model.read_text() + CODES)
    scan = series(tmp_path / "ct")
    done = explain(capsys, scan, model, tmp_path / "out", "--format", "dicom-sr")
    assert done.code == 0, done.err
    summary = json.loads((tmp_path / "out" / "ct" / "summary.json").read_text())
    codes = {label["name"]: label["code"] for label in summary["labels"]}
    assert codes["mass"] == {"scheme": "SCT", "value": "4147007", "meaning": "Mass"}
    assert codes["nodule"] is None
    text = str(pydicom.dcmread(tmp_path / "out" / "ct" / "report.sr.dcm"))
    assert "'4147007'" in text


@pytest.mark.parametrize("format", ALL.split(","))
def test_scans_that_are_no_dicom_are_refused_before_any_is_read(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    done = explain(capsys, scan, model, tmp_path / "out", "--format", format)
    assert done.code == 2
    assert f"--format {format} refers to the DICOM series of a scan" in done.err
    assert not (tmp_path / "out" / "scan").exists()


def test_among_dicom_series_a_scan_that_is_none_fails_alone(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series(tmp_path / "in" / "ct")
    make_scan(tmp_path / "in" / "other.nii.gz")
    done = explain(capsys, tmp_path / "in", model, tmp_path / "out", "--format", "dicom-pm")
    assert done.code == 8
    failed = json.loads((tmp_path / "out" / "other" / "summary.json").read_text())
    assert failed["error"]["code"] == "dicom-no-source"
    assert (tmp_path / "out" / "ct" / "summary.json").is_file()


def test_a_series_without_a_frame_of_reference_fails_before_the_network_runs(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = series(tmp_path / "ct", FrameOfReferenceUID=None)
    done = explain(capsys, scan, model, tmp_path / "out", "--format", "dicom-pm")
    assert done.code == 65
    failed = json.loads((tmp_path / "out" / "ct" / "summary.json").read_text())
    assert (failed["error"]["code"], failed["error"]["stage"]) == ("dicom-no-frame-of-reference", "read")


def test_no_identifiers_and_dicom_results_contradict(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = series(tmp_path / "ct")
    done = explain(capsys, scan, model, tmp_path / "out", "--format", "dicom-sc", "--identifiers", "none")
    assert done.code == 2
    assert "--identifiers none tells nothing of it" in done.err
    done = explain(capsys, scan, model, tmp_path / "out", "--format", "nifti", "--identifiers", "none")
    assert done.code == 0
    case = tmp_path / "out" / "ct"
    rendered = hirescam(capsys, "render", case, "--scan", scan, "--format", "dicom-sc")
    assert rendered.code == 2


def test_without_the_extra_it_says_how_to_install_it(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> object:
        return None if name == "highdicom" else importlib.util.find_spec(name)

    monkeypatch.setattr(writing, "find_spec", absent)
    done = explain(capsys, series(tmp_path / "ct"), model, tmp_path / "out", "--format", "dicom-pm")
    assert done.code == 2
    assert "pip install 'hirescam-cli[dicom]'" in done.err


@pytest.mark.parametrize("fraction", ["0", "-1", "1.5", "nan"])
def test_a_share_of_the_maximum_has_limits(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], fraction: str
) -> None:
    done = explain(capsys, series(tmp_path / "ct"), model, tmp_path / "out", "--seg-fraction", fraction)
    assert done.code == 2
    assert "a share above 0 and up to 1" in done.err
