"""That it learns at all, and what a mask loss does to evidence: minutes, so not in every run of the tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hirescam_cli.cli.app import app
from hirescam_cli.model.spec import load_spec
from hirescam_cli.phantom.dataset import split_of
from hirescam_cli.train.checkpoint import load_checkpoint
from hirescam_cli.train.run import train
from tests.train.world import World, model_text


@pytest.mark.slow
def test_eight_phantoms_are_learnt_by_heart(world: World, tmp_path: Path) -> None:
    """4 slice groups, width 8: the loss falls below 0.05 within 60 passes over 8 scans."""
    rows = world.rows()
    for row in rows:
        row["split"] = "train"
    again = dict(rows[0]) | {"id": "again", "patient": "again", "split": "valid"}
    again["path"] = world.other_bytes(again["path"], "scans/again.nii.gz")
    table = world.write_rows([*rows, again], "by-heart.csv")
    (world.folder / "wider.toml").write_text(model_text(groups=4, width=8))
    run = tmp_path / "run"
    train(
        world.request(
            run, table=table, model=str(world.folder / "wider.toml"), epochs=60, patience=60, optimizer="adamw",
            lr=3e-3, schedule="cosine", weight_decay=0.0, augment="none", cache=tmp_path / "cache",
        )
    )  # fmt: skip
    found = load_checkpoint(run)
    assert found is not None
    losses = [epoch.train.classification for epoch in found.progress.history]
    assert losses[0] > 0.5
    assert losses[-1] < 0.05


@pytest.mark.slow
def test_the_demonstration_model_comes_from_two_commands(tmp_path: Path) -> None:
    """The command lines of the README with few phantoms and one epoch: the result explains a phantom."""
    runner = CliRunner()

    def hirescam(*arguments: str) -> str:
        done = runner.invoke(app, arguments)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    folder = tmp_path / "phantoms"
    count = next(n for n in range(3, 30) if {"train", "valid"} <= {split_of(100_000 + k) for k in range(n)})
    hirescam("phantom", str(folder), "-n", str(count), "--seed", "100000", "-q")
    run = tmp_path / "demo-model"
    hirescam(
        "train", str(folder / "labels.csv"), "--model", "demo", "-o", str(run), "--masks", str(folder / "masks"),
        "--mask-loss", "lesions", "--mask-weight", "0.1", "--warm-up", "2", "--optimizer", "adamw", "--lr", "2e-3",
        "--schedule", "cosine", "--weight-decay", "1e-2", "--augment", "flip-lr", "--epochs", "1", "--device", "cpu",
    )  # fmt: skip
    spec = load_spec(str(run / "model.toml"))
    assert spec.labels == load_spec("demo").labels
    assert spec.preparation == load_spec("demo").preparation
    scan = next((folder / "scans").iterdir())
    hirescam(
        "explain", str(scan), "-o", str(tmp_path / "out"), "--model", str(run / "model.toml"), "--jobs", "0"
    )
    summary = json.loads(next((tmp_path / "out").glob("*/summary.json")).read_text())
    assert all(label["maps"]["hirescam"]["complete"] for label in summary["labels"])
