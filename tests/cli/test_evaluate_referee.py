"""`hirescam evaluate --referee occlusion`: from finished cases, masks and scans to a verdict in referee.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.batch.world import make_model, make_scan
from tests.cli.command import hirescam


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_model(folder / "model")
    make_model(folder / "other", seed=7)
    for n in range(2):
        scan = make_scan(folder / f"in/scan{n}.nii.gz", shape=(40, 38, 30), seed=n)
        for label in ("nodule", "mass"):
            values = np.zeros((40, 38, 30), dtype=np.uint8)
            values[10:20, 10:20, 10:20] = 1
            path = folder / f"masks/scan{n}/{label}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values, nib.load(scan).affine), path)
    return folder


def explain(capsys: pytest.CaptureFixture[str], world: Path, out: Path) -> None:
    result = hirescam(
        capsys, "explain", world / "in", "-o", out, "--model", world / "model/tiny.toml", "--threshold", "0",
        "--labels", "all", "--format", "nifti", "--jobs", 0,
    )  # fmt: skip
    assert result.code == 0, result.err


def evaluate(capsys: pytest.CaptureFixture[str], world: Path, out: Path, *more: object):
    return hirescam(
        capsys, "evaluate", out, "--masks", world / "masks", "--referee", "occlusion", "--groups", 1,
        "--fill", "mean", "--model", world / "model/tiny.toml", *more,
    )  # fmt: skip


def test_the_network_is_asked_about_its_cases(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    explain(capsys, world, out)
    result = evaluate(capsys, world, out, "--scan", world / "in")
    assert result.code == 0, result.err
    assert "Verdict: undecided (fewer than 5 cases" in result.out
    assert re.search(
        r"stretch - receptive-field \(hirescam, own windows\): -?0\.\d\d; mean -?0\.\d\d\n", result.out
    )
    assert "both in windows of receptive-field" in result.out
    found = json.loads((out / "evaluation/referee.json").read_text())
    assert found["cases"] == 2
    assert found["groups"] == 1
    assert {(a["case"], a["label"]) for a in found["agreements"]} == {
        (f"scan{n}", label) for n in range(2) for label in ("nodule", "mass")
    }
    assert found["exactness"] < 1e-6
    # One scan is missing: the other is asked, and the missing one is named and counted.
    result = evaluate(capsys, world, out, "--scan", world / "in/scan0.nii.gz", "--json")
    assert result.code == 8
    assert "scan1" in result.err
    assert json.loads(result.out)["referee"]["cases"] == 1


def test_what_cannot_be_asked_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    explain(capsys, world, out)
    result = evaluate(capsys, world, out)
    assert result.code == 2
    assert "--scan" in result.err
    result = evaluate(capsys, world, out, "--scan", world / "in", "--model", world / "other/tiny.toml")
    assert result.code == 2
    assert "other weights" in result.err
    result = evaluate(capsys, world, out, "--scan", world / "in", "--fill", "noise")
    assert result.code == 2
