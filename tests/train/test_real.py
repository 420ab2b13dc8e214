"""Real scans as a table names them (files, a DICOM folder, its zip): trained on, then explained, the same logits."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import pytest

from hirescam_cli.api import explain
from hirescam_cli.case.listing import read_case
from hirescam_cli.case.record import Case
from hirescam_cli.settings import Settings
from hirescam_cli.train.run import train
from tests.train.world import LABELS, World, model_text


@pytest.mark.real
def test_what_training_sees_is_what_explain_sees(real_data: Path, tmp_path: Path) -> None:
    series = real_data / "totalseg_ct" / "dicom"
    archive = tmp_path / "series.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(p for p in series.rglob("*") if p.is_file()):
            file.write(path, path.name)
    paths = {
        "folder": series, "zip": archive, "nifti": real_data / "totalseg_ct" / "example_ct_sm.nii.gz",
        "metaimage": real_data / "elastix_lung" / "3DCT_lung_baseline_small.mha",
    }  # fmt: skip
    world = World(tmp_path, table="table.csv")
    rows = [
        {"id": name, "path": str(path), "patient": name, "split": "train" if n == 0 else "valid"}
        | {label: str((n + place) % 2) for place, label in enumerate(LABELS)}
        for n, (name, path) in enumerate(paths.items())
    ]
    world.write_rows(rows, "table.csv")
    (tmp_path / "tiny.toml").write_text(model_text())
    run = tmp_path / "run"
    train(world.request(run, epochs=1))
    settings = Settings(model=str(run / "model.toml"), labels="all", formats=("nifti",), device="cpu")
    given = {name: path for name, path in paths.items() if name != "folder"}
    assert explain(given, tmp_path / "out", settings=settings).exit_code == 0
    with (run / "validation.csv").open(newline="") as file:
        told = {(row["id"], row["label"]): float(row["logit"]) for row in csv.DictReader(file)}
    assert len(told) == 9
    for name in given:
        case = read_case(tmp_path / "out" / name, name)
        assert isinstance(case, Case)
        for label in case.labels:
            assert label.logit == pytest.approx(told[name, label.name], abs=2e-5)
