"""`hirescam explain` as a script sees it: exit codes, streams, names, options from the environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import torch

from hirescam_cli.case.document import schema
from tests.batch.world import make_model, make_scan, make_scans
from tests.cli.command import hirescam


def files_of(summary: dict[str, Any], method: str, label: str, role: str) -> list[str]:
    """The files that show one map in one way."""
    wanted = (method, label, role)
    return [o["path"] for o in summary["outputs"] if (o["method"], o["label"], o["role"]) == wanted]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_a_log_file_may_lie_in_the_output(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, out = make_scan(tmp_path / "scan.nii.gz"), tmp_path / "deep" / "out"
    run = ("explain", scan, "-o", out, "--model", model, "--format", "nifti", "--jobs", 0, "-q")
    assert hirescam(capsys, *run, "--log-file", out / "logs" / "run.log").code == 0
    assert "1 done, 0 already there" in (out / "logs" / "run.log").read_text()
    assert (out / "scan" / "summary.json").is_file()
    elsewhere = hirescam(capsys, *run, "--log-file", tmp_path / "none" / "run.log")
    assert (elsewhere.code, (tmp_path / "none").exists()) == (73, False)


def test_one_scan_gives_a_whole_case(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = make_scan(tmp_path / "in" / "scan.nii.gz")
    result = hirescam(
        capsys, "explain", scan, "-o", tmp_path / "out", "--model", model, "--method", "hirescam",
        "--method", "gradcam", "--labels", "all", "--jobs", "0",
    )  # fmt: skip
    assert result.code == 0, result.err
    folder = tmp_path / "out" / "scan"
    summary = json.loads((folder / "summary.json").read_text())
    jsonschema.validate(summary, schema())
    assert summary["case"] == "scan"
    published = {output["path"]: output["bytes"] for output in summary["outputs"]}
    on_disk = {p.name: p.stat().st_size for p in folder.iterdir() if p.name != "summary.json"}
    assert published == on_disk
    for method in ("hirescam", "gradcam"):
        cams = nib.load(folder / f"{method}.cams.nii.gz")
        assert cams.shape == (1, 6, 6, 2)
        for entry in summary["labels"]:
            maps = entry["maps"][method]
            assert maps["sum"] == pytest.approx(
                float(np.sum(cams.get_fdata()[..., entry["index"]])), abs=1e-6
            )
            (drawn,) = files_of(summary, method, entry["name"], "overlay")
            overlay = nib.load(folder / drawn)
            assert overlay.shape == nib.load(scan).shape
            np.testing.assert_array_equal(overlay.affine, nib.load(scan).affine)
            (picture,) = files_of(summary, method, entry["name"], "picture")
            assert (folder / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert all(e["maps"]["hirescam"]["residual"] <= 1e-4 for e in summary["labels"])
    assert (tmp_path / "out" / "batch.json").is_file()
    assert (tmp_path / "out" / "predictions.csv").read_text().count("\n") == 3
    assert "nodule" in result.out
    assert "complete" in result.out


def test_json_alone_is_on_stdout(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    result = hirescam(
        capsys,
        "explain",
        scan,
        "-o",
        tmp_path / "out",
        "--model",
        model,
        "--format",
        "nifti",
        "--json",
        "--jobs",
        0,
    )
    document = json.loads(result.out)
    assert [case["case"] for case in document["cases"]] == ["scan"]
    assert document["counts"] == {"ok": 1, "failed": 0}


def test_quiet_says_nothing(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    result = hirescam(
        capsys,
        "explain",
        scan,
        "-o",
        tmp_path / "out",
        "--model",
        model,
        "--format",
        "nifti",
        "-q",
        "--jobs",
        0,
    )
    assert (result.code, result.out, result.err) == (0, "", "")


def _bad_checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save({"params": {"fc.weight": torch.zeros(2, 4, 6, 6)}}, path)
    return path


REFUSED = {
    "unknown option value: method": (["--method", "lime"], 2, "lime"),
    "unknown label": (["--labels", "nodul"], 2, "Did you mean nodule"),
    "label count": (["--labels", "top:0"], 2, "top:0"),
    "threshold": (["--threshold", "1.5"], 2, "1.5"),
    "placement": (["--placement", "middle"], 2, "middle"),
    "grid": (["--grid", "fine"], 2, "fine"),
    "format": (["--format", "jpeg"], 2, "jpeg"),
    "format without its source": (["--format", "dicom-seg"], 2, "no scan given is DICOM"),
    "precision": (["--precision", "int8"], 2, "int8"),
    "unknown model": (["--model", "resnet"], 2, "resnet"),
    "target layer": (["--target-layer", "conv2d.9"], 2, "conv2d.9"),
    "unknown option": (["--colour", "red"], 2, "colour"),
    "device name": (["--device", "tpu"], 2, "tpu"),
    "absent device": (["--device", "cuda:99"], 69, "cuda:99"),
    "no weights": (["--model", "axialnet-83"], 69, "--weights"),
    "absent weights": (["--weights", "nowhere.pt"], 69, "nowhere.pt"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_any_scan(
    name: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra, code, said = REFUSED[name]
    scan = make_scan(tmp_path / "scan.nii.gz")
    options = ["--jobs", "0"] if "--model" in extra else ["--jobs", "0", "--model", model]
    result = hirescam(capsys, "explain", scan, "-o", tmp_path / "out", *options, *extra)
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert not (tmp_path / "out" / "scan").exists()


def test_bad_weights_are_refused_with_one_sentence(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    weights = _bad_checkpoint(tmp_path)
    result = hirescam(
        capsys, "explain", scan, "-o", tmp_path / "out", "--model", model, "--weights", weights, "--jobs", 0
    )
    assert result.code == 2
    assert "entries are missing, the first is features.0.weight" in result.err


def test_input_that_is_not_there(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = hirescam(capsys, "explain", tmp_path / "none.nii", "-o", tmp_path / "out", "--model", model)
    assert result.code == 66
    assert "none.nii" in result.err
    (tmp_path / "empty").mkdir()
    assert (
        hirescam(capsys, "explain", tmp_path / "empty", "-o", tmp_path / "out", "--model", model).code == 66
    )
    assert not (tmp_path / "out").exists()


def test_broken_scans(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_scans(tmp_path / "in", 2)
    broken = folder / "scan000.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-20])
    options = ("--model", model, "--format", "nifti", "--jobs", 0)
    result = hirescam(capsys, "explain", folder, "-o", tmp_path / "some", *options)
    assert result.code == 8
    assert "scan000.nii.gz" in result.err
    failed = json.loads((tmp_path / "some" / "scan000" / "summary.json").read_text())
    jsonschema.validate(failed, schema())
    assert failed["status"] == "failed"
    assert failed["error"]["stage"] == "read"
    assert [p.name for p in (tmp_path / "some" / "scan000").iterdir()] == ["summary.json"]
    assert json.loads((tmp_path / "some" / "scan001" / "summary.json").read_text())["status"] == "ok"
    assert hirescam(capsys, "explain", broken, "-o", tmp_path / "one", *options).code == 65
    text = tmp_path / "notes.txt"
    text.write_text("not an image")
    assert hirescam(capsys, "explain", text, "-o", tmp_path / "text", *options).code == 65


def test_output_that_cannot_be_created(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    (tmp_path / "file").write_text("in the way")
    result = hirescam(capsys, "explain", scan, "-o", tmp_path / "file" / "out", "--model", model, "--jobs", 0)
    assert result.code == 73
    assert (tmp_path / "file").read_text() == "in the way"


def test_options_come_from_the_environment(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    for name, value in {
        "MODEL": model, "OUTPUT": tmp_path / "out", "METHOD": "gradcam", "LABELS": "mass", "GRID": "cam",
        "FORMAT": "nifti", "JOBS": 0, "PLACEMENT": "receptive-field", "DEVICE": "cpu",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"HIRESCAM_{name}", str(value))
    assert hirescam(capsys, "explain", scan).code == 0
    names = sorted(p.name for p in (tmp_path / "out" / "scan").iterdir())
    assert names == ["gradcam.cams.nii.gz", "gradcam.mass.cam.nii.gz", "summary.json"]
    summary = json.loads((tmp_path / "out" / "scan" / "summary.json").read_text())
    assert summary["placement"] == "receptive-field"
    assert summary["run"]["device_requested"] == "cpu"
    assert summary["run"]["fallbacks"] == []


def test_a_list_on_standard_input(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make_scan(tmp_path / "a.nii.gz", 1), make_scan(tmp_path / "b.nii.gz", 2)
    result = hirescam(
        capsys, "explain", "-", "-o", tmp_path / "out", "--model", model, "--format", "nifti", "--jobs", 0,
        stdin=f"{first}\npatient-7={second}\n",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert (tmp_path / "out" / "a" / "summary.json").is_file()
    assert (tmp_path / "out" / "patient-7" / "summary.json").is_file()


def test_dry_run_writes_nothing(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_scans(tmp_path / "in", 3)
    result = hirescam(
        capsys, "explain", folder, "-o", tmp_path / "out", "--model", model, "--dry-run", "--json"
    )
    assert result.code == 0
    assert [case["case"] for case in json.loads(result.out)["cases"]] == ["scan000", "scan001", "scan002"]
    assert not (tmp_path / "out").exists()


def test_hostile_label_names_are_safe_file_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model(tmp_path / "model")
    text = model.read_text().replace('["nodule", "mass"]', '["cams", "<b>=1"]')
    model.write_text(text)
    scan = make_scan(tmp_path / "scan.nii.gz")
    result = hirescam(
        capsys, "explain", scan, "-o", tmp_path / "out", "--model", model, "--labels", "all", "--format", "nifti",
        "--jobs", 0,
    )  # fmt: skip
    assert result.code == 0, result.err
    names = sorted(p.name for p in (tmp_path / "out" / "scan").iterdir())
    assert names == [
        "hirescam._b__1.nii.gz",
        "hirescam.cams.nii.gz",
        "hirescam.cams_0.nii.gz",
        "summary.json",
    ]
    assert nib.load(tmp_path / "out" / "scan" / "hirescam.cams.nii.gz").ndim == 4


@pytest.mark.parametrize("command", ["explain", "inspect", "render"])
def test_a_command_without_its_arguments_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    result = hirescam(capsys, command)
    assert (result.code, result.out) == (2, "")
    assert "Missing argument" in result.err


@pytest.mark.parametrize("command", ["explain", "inspect"])
def test_a_series_that_is_no_uid_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    (tmp_path / "x.nii").touch()
    result = hirescam(capsys, command, tmp_path / "x.nii", "--series", "foo")
    assert (result.code, result.out) == (2, "")
    assert "--series 'foo' is unknown" in result.err
