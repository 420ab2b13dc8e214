"""`hirescam explain --json`: what a script needs of each case is in one document on standard output."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.batch.world import make_model, make_scan, make_scans
from tests.cli.command import hirescam
from tests.io.dicom_factory import chest, make_series


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def run(capsys: pytest.CaptureFixture[str], model: Path, out: Path, *inputs: object, code: int = 0) -> Any:
    """The document of a run, which must end with `code`."""
    result = hirescam(
        capsys, "explain", *inputs, "-o", out, "--model", model, "--format", "nifti", "--jobs", 0, "--json"
    )
    assert result.code == code, result.err
    return json.loads(result.out)


def test_each_case_has_input_folder_model_logits_and_probabilities(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, out = make_scans(tmp_path / "in", 2), tmp_path / "out"
    document = run(capsys, model, out, inputs)
    assert document["counts"] == {"ok": 2, "failed": 0}
    assert (document["run"]["done"], document["run"]["exit_code"]) == (2, 0)
    assert document["run"]["output"] == str(out)
    for told, name in zip(document["cases"], ("scan000", "scan001"), strict=True):
        summary = json.loads((out / name / "summary.json").read_text())
        assert (told["case"], told["status"], told["error"]) == (name, "ok", None)
        assert Path(told["folder"]) == out / name
        assert Path(told["input"]["path"]) == inputs / f"{name}.nii.gz"
        for key in ("kind", "fingerprint", "shape", "spacing_mm", "orientation"):
            assert told["input"][key] == summary["input"][key]
        assert told["model"] == summary["model"]
        keys = ("name", "index", "logit", "probability", "threshold", "positive")
        assert told["labels"] == [{key: label[key] for key in keys} for label in summary["labels"]]
        assert told["positive"] == [label["name"] for label in summary["labels"] if label["positive"]]


def test_only_the_cases_of_this_run_are_told(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make_scan(tmp_path / "a.nii.gz", 1), make_scan(tmp_path / "b.nii.gz", 2)
    run(capsys, model, tmp_path / "out", first)
    again = run(capsys, model, tmp_path / "out", second, first)
    assert [case["case"] for case in again["cases"]] == ["a", "b"]
    assert (again["run"]["done"], again["run"]["skipped"]) == (1, 1)
    alone = run(capsys, model, tmp_path / "out", second)
    assert [case["case"] for case in alone["cases"]] == ["b"]


def test_a_failed_case_says_why_and_has_no_labels(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = make_scans(tmp_path / "in", 2)
    broken = inputs / "scan000.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-20])
    document = run(capsys, model, tmp_path / "out", inputs, code=8)
    failed, fine = document["cases"]
    assert document["counts"] == {"ok": 1, "failed": 1}
    assert (failed["status"], failed["labels"], failed["error"]["stage"]) == ("failed", [], "read")
    assert failed["input"]["path"] == str(broken)
    assert failed["input"]["fingerprint"] is None
    assert len(fine["labels"]) == 2


def test_a_series_is_told_by_its_folder(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_series(tmp_path / "in" / "ct", chest((24, 20, 12)), (8.0, 8.0, 8.0))
    for given in (tmp_path / "in", tmp_path / "in" / "ct"):
        (case,) = run(capsys, model, tmp_path / f"out-{given.name}", given)["cases"]
        assert Path(case["input"]["path"]) == tmp_path / "in" / "ct"
        assert (case["case"], case["input"]["kind"]) == ("ct", "dicom")


@pytest.mark.skipif(os.fsencode("ü") != b"\xc3\xbc", reason="the file system's names are not UTF-8")
def test_an_output_whose_name_is_no_text_is_told_exactly(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / os.fsdecode(b"out-\xff")
    (case,) = run(capsys, model, out, make_scan(tmp_path / "a.nii.gz"))["cases"]
    assert Path(case["folder"]).is_dir()
