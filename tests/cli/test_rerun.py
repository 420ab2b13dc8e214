"""The same command again: what is done is skipped, and what is made otherwise is refused with what to do instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hirescam_cli.choices import Grid
from hirescam_cli.model.load import load_model
from hirescam_cli.model.spec import load_spec
from hirescam_cli.pipeline.session import options_told
from hirescam_cli.settings import Settings
from tests.batch.world import make_model, make_scan
from tests.cli.command import hirescam


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_second_run_skips_and_other_options_are_refused(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    run = ("explain", scan, "-o", tmp_path / "out", "--model", model, "--format", "nifti", "--jobs", 0)
    assert hirescam(capsys, *run).code == 0
    before = (tmp_path / "out" / "scan" / "summary.json").read_bytes()
    assert hirescam(capsys, *run).code == 0
    assert (tmp_path / "out" / "scan" / "summary.json").read_bytes() == before
    changed = hirescam(capsys, *run, "--labels", "all")
    assert changed.code == 2
    assert "--existing overwrite" in changed.err
    shown = f"hirescam render {tmp_path / 'out' / 'scan'} --scan INPUT --labels all --format nifti"
    assert shown in changed.err
    command = shown.replace("INPUT", str(scan)).split()[1:]
    assert hirescam(capsys, *command).code == 0
    assert (tmp_path / "out" / "scan" / "hirescam.mass.nii.gz").is_file()
    assert not list((tmp_path / "out" / "scan").glob("*.png"))
    other = hirescam(capsys, *run, "--labels", "all", "--threshold", "0.1")
    assert (other.code, "hirescam render" in other.err) == (2, False)
    assert hirescam(capsys, *run, "--labels", "mass", "--existing", "overwrite").code == 0
    names = {path.name for path in (tmp_path / "out" / "scan").iterdir()}
    assert names == {"summary.json", "hirescam.cams.nii.gz", "hirescam.mass.nii.gz"}


def test_a_case_of_another_schema_is_refused_in_plain_sentences(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    run = ("explain", scan, "-o", tmp_path / "out", "--model", model, "--format", "nifti", "--jobs", 0)
    assert hirescam(capsys, *run).code == 0
    summary = tmp_path / "out" / "scan" / "summary.json"
    summary.write_text(summary.read_text().replace('"schema_version": 2', '"schema_version": 3'))
    refused = hirescam(capsys, *run)
    assert (refused.code, "schema version 3" in refused.err, ".." in refused.err) == (2, True, False)


USUAL = {
    "format": "nifti,png", "labels": "nodule,mass", "grid": "scan", "placement": "stretch", "threshold": "0.5",
    "freeze": "none", "target-layer": "",
}  # fmt: skip


def test_what_makes_the_same_files_is_the_same_run_however_it_is_said(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    layer = load_model(load_spec(str(model))).target_layer
    first = ("explain", scan, "-o", tmp_path / "out", "--model", model, "--jobs", 0)
    assert hirescam(capsys, *first, "--format", "png,nifti", "--labels", "mass, nodule").code == 0
    summary = tmp_path / "out" / "scan" / "summary.json"
    before = json.loads(summary.read_text())
    spelled = [word for name, value in USUAL.items() for word in (f"--{name}", value or layer)]
    again = hirescam(capsys, *first, *spelled)
    assert again.code == 0, again.err
    assert "1 already there" in again.err
    assert json.loads(summary.read_text()) == before
    # Made anew it is the same to the byte, apart from when and how fast.
    assert hirescam(capsys, *first, *spelled, "--existing", "overwrite").code == 0
    after = json.loads(summary.read_text())
    for document in (before, after):
        del document["started"], document["run"]["seconds"], document["run"]["peak_memory_mib"]
    assert after == before
    for option, value in {"labels": "mass", "format": "gif", "threshold": "0.4", "grid": "both"}.items():
        changed = hirescam(capsys, *first, *spelled, f"--{option}", value)
        assert (changed.code, f"--{option} was" in changed.err) == (2, True)
    other = hirescam(capsys, *first, *spelled, "--placement", "receptive-field")
    assert (other.code, "--placement was stretch and is receptive-field" in other.err) == (2, True)


def test_the_order_of_methods_counts_since_the_first_one_leads(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    run = ("explain", scan, "-o", tmp_path / "out", "--model", model, "--format", "nifti", "--jobs", 0)
    assert hirescam(capsys, *run, "--method", "hirescam,gradcam").code == 0
    assert hirescam(capsys, *run, "--method", "hirescam,gradcam").code == 0
    changed = hirescam(capsys, *run, "--method", "gradcam,hirescam")
    assert (changed.code, "--method was" in changed.err) == (2, True)


@pytest.mark.parametrize(
    ("formats", "grid", "same"),
    [
        (("nifti", "html"), "scan", True),
        (("png",), "scan", True),
        (("dicom-pm",), "cam", True),
        (("dicom-pm",), "scan", False),
        (("nifti",), "cam", False),
        (("nifti", "dicom-pm"), "scan", False),
        (("nifti", "dicom-pm"), "cam", False),
        (("nifti",), "both", False),
    ],
)
def test_a_grid_is_the_default_where_all_formats_take_it_anyway(
    model: Path, formats: tuple[str, ...], grid: Grid, same: bool
) -> None:
    loaded = load_model(load_spec(str(model)))
    usual = options_told(Settings(formats=formats), loaded)
    assert (options_told(Settings(formats=formats, grid=grid), loaded) == usual) is same


def test_existing_cases_can_end_a_run(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    run = ("explain", scan, "-o", tmp_path / "out", "--model", model, "--format", "nifti", "--jobs", 0)
    assert hirescam(capsys, *run, "--existing", "error").code == 0
    refused = hirescam(capsys, *run, "--existing", "error")
    assert (refused.code, refused.out) == (73, "")
    assert "already holds the case scan" in refused.err
