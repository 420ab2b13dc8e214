"""`hirescam render` and `hirescam report`: new files from finished cases, without the network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest

from hirescam_cli.case.document import schema
from tests.batch.world import make_model, make_scan
from tests.cli.command import hirescam


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_model(folder / "model")
    make_scan(folder / "in" / "scan.nii.gz", shape=(40, 38, 30))
    make_scan(folder / "in" / "other.nii.gz", seed=5)
    return folder


def _explain(capsys: pytest.CaptureFixture[str], world: Path, out: Path, *more: object) -> Path:
    result = hirescam(
        capsys, "explain", world / "in" / "scan.nii.gz", "-o", out, "--model", world / "model" / "tiny.toml",
        "--method", "hirescam,gradcam", "--jobs", 0, *more,
    )  # fmt: skip
    assert result.code == 0, result.err
    return out / "scan"


def test_rendered_overlays_are_those_of_explain(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = _explain(
        capsys, world, tmp_path / "whole", "--labels", "all", "--grid", "both", "--format", "nifti"
    )
    sparse = _explain(capsys, world, tmp_path / "sparse", "--labels", "top:1", "--format", "nifti")
    result = hirescam(
        capsys,
        "render",
        sparse,
        "--scan",
        world / "in",
        "--labels",
        "all",
        "--grid",
        "both",
        "--format",
        "nifti",
    )
    assert result.code == 0, result.err
    names = sorted(p.name for p in whole.iterdir() if p.name != "summary.json")
    assert names == sorted(p.name for p in sparse.iterdir() if p.name != "summary.json")
    for name in names:
        assert (whole / name).read_bytes() == (sparse / name).read_bytes(), name
    summary = json.loads((sparse / "summary.json").read_text())
    jsonschema.validate(summary, schema())
    for output in summary["outputs"]:
        assert hashlib.sha256((sparse / output["path"]).read_bytes()).hexdigest() == output["sha256"]


def test_another_placement_has_its_own_affine_and_name(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = _explain(capsys, world, tmp_path / "out", "--labels", "mass", "--format", "nifti")
    result = hirescam(
        capsys, "render", case, "--scan", world / "in", "--labels", "mass", "--method", "hirescam",
        "--placement", "receptive-field", "--grid", "cam", "--format", "nifti,png", "--cells",
    )  # fmt: skip
    assert result.code == 0, result.err
    placed = nib.load(case / "hirescam.mass.receptive-field.cam.nii.gz")
    exact = nib.load(case / "hirescam.cams.nii.gz")
    np.testing.assert_array_equal(placed.get_fdata(), exact.get_fdata()[..., 1])
    summary = json.loads((case / "summary.json").read_text())
    np.testing.assert_allclose(
        placed.affine, summary["target"]["affines"]["receptive-field"], rtol=0, atol=1e-4
    )
    assert not np.allclose(placed.affine, exact.affine)
    assert (case / "hirescam.mass.receptive-field.png").is_file()
    assert not (case / "gradcam.mass.receptive-field.png").exists()


def test_what_render_refuses(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = _explain(capsys, world, tmp_path / "out", "--labels", "mass", "--format", "nifti")
    before = sorted((p.name, p.read_bytes()) for p in case.iterdir())
    other = world / "in" / "other.nii.gz"
    for arguments, code, said in (
        (["--scan", other], 65, "not among the inputs"),
        ([], 2, "--scan"),
        (["--scan", world / "in", "--labels", "nothing"], 2, "nothing"),
        (["--scan", world / "in", "--method", "lime"], 2, "lime"),
        (["--scan", world / "in", "--placement", "centre"], 2, "centre"),
        (["--scan", world / "nowhere"], 66, "nowhere"),
    ):
        result = hirescam(capsys, "render", case, *arguments)
        assert (result.code, said in result.err) == (code, True), (arguments, result.err)
    assert hirescam(capsys, "render", tmp_path, "--scan", world / "in").code == 65
    (case / "hirescam.cams.nii.gz").write_bytes(b"damaged")
    damaged = hirescam(capsys, "render", case, "--scan", world / "in")
    assert damaged.code == 65
    assert "not the file that was published" in damaged.err
    after = {p.name: p.read_bytes() for p in case.iterdir()}
    assert all(after[name] == data for name, data in before if name != "hirescam.cams.nii.gz")


def test_a_file_of_the_case_that_is_gone_is_named(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = _explain(capsys, world, tmp_path / "out", "--labels", "mass", "--format", "nifti")
    (case / "hirescam.mass.nii.gz").unlink()
    refused = hirescam(capsys, "render", case, "--scan", world / "in", "--labels", "mass", "--format", "png")
    assert refused.code == 65
    assert "lacks its file hirescam.mass.nii.gz" in refused.err
    assert "--format nifti as well" in refused.err
    anew = hirescam(
        capsys, "render", case, "--scan", world / "in", "--labels", "mass", "--format", "png,nifti"
    )
    assert anew.code == 0, anew.err
    assert (case / "hirescam.mass.nii.gz").is_file()


def test_report_writes_pages_and_an_index(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    case = _explain(capsys, world, out, "--format", "nifti")
    without = hirescam(capsys, "report", out)
    assert without.code == 0
    assert "1 cases have no page" in without.err
    assert not (case / "report.html").exists()
    result = hirescam(capsys, "report", out, "--scan", world / "in")
    assert result.code == 0, result.err
    assert "Content-Security-Policy" in (case / "report.html").read_text(encoding="utf-8")
    assert "scan" in (out / "index.html").read_text(encoding="utf-8")
    # The case has no picture yet: its tile says so. A sheet that is left over from more cases goes.
    bare = (out / "contact-sheet.png").read_bytes()
    (out / "contact-sheet-2.png").write_bytes(b"old")
    (out / "contact-sheet-of-2025.png").write_bytes(b"mine")
    (case / "notes").mkdir()
    (case / "notes" / "mine.txt").write_bytes(b"seen")
    assert hirescam(capsys, "render", case, "--scan", world / "in", "--format", "png").code == 0
    assert hirescam(capsys, "report", out).code == 0
    assert (out / "contact-sheet.png").read_bytes() != bare
    assert not (out / "contact-sheet-2.png").exists()
    assert (out / "contact-sheet-of-2025.png").read_bytes() == b"mine"
    assert (case / "notes" / "mine.txt").read_bytes() == b"seen"
    assert json.loads((out / "batch.json").read_text())["counts"] == {"ok": 1, "failed": 0}
    assert hirescam(capsys, "report", tmp_path / "nowhere").code == 66
