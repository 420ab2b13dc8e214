"""A training from table to model: what lies in its folder, and that it explains at once."""

from __future__ import annotations

import csv
import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tomli_w
import torch

from hirescam_cli.api import explain
from hirescam_cli.case.listing import read_case
from hirescam_cli.case.record import Case
from hirescam_cli.model.labels import Code
from hirescam_cli.model.load import load_model
from hirescam_cli.model.spec import load_spec
from hirescam_cli.settings import Settings
from hirescam_cli.train.calibration import Scaling
from hirescam_cli.train.checkpoint import load_checkpoint
from hirescam_cli.train.events import Event
from hirescam_cli.train.publish import Choice, model_document
from hirescam_cli.train.run import train
from hirescam_cli.train.thresholds import Threshold
from tests.train.world import LABELS, World, many_rows, model_text


@pytest.fixture(scope="module")
def trained(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with enough validation scans to calibrate and to choose thresholds."""
    run = tmp_path_factory.mktemp("runs") / "calibrated"
    torch.set_num_threads(1)
    result = train(world.request(run, table=many_rows(world, 26), cache=run.parent / "cache"))
    assert (result.status, result.exit_code) == ("finished", 0)
    return run


def answers(run: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (run / "validation.csv").open(newline="") as file:
        return {(row["id"], row["label"]): row for row in csv.DictReader(file)}


def test_the_folder_holds_what_the_contract_says(trained: Path) -> None:
    assert sorted(p.name for p in trained.iterdir()) == [
        ".hirescam.lock", "curves.png", "last", "log.jsonl", "metrics.csv", "model.toml", "summary.json",
        "validation.csv", "weights.safetensors",
    ]  # fmt: skip
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["epochs"] == 2
    assert summary["scans"] == {"train": 4, "valid": 26}
    events = [json.loads(line)["event"] for line in (trained / "log.jsonl").read_text().splitlines()]
    assert events[-3:] == ["epoch", "epoch", "finished"]
    with (trained / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = rows[summary["best_epoch"] - 1]
    assert float(best["valid_total"]) == min(float(row["valid_total"]) for row in rows)
    assert len(answers(trained)) == 26 * 3


def test_the_model_file_says_on_what_it_was_trained(trained: Path) -> None:
    document = tomllib.loads((trained / "model.toml").read_text())
    assert document["intended_use"] == "Research; not for diagnosis."
    assert document["weights"] == {
        "file": "weights.safetensors",
        "sha256": hashlib.sha256((trained / "weights.safetensors").read_bytes()).hexdigest(),
    }
    story = document["training"]
    assert story["scans"] == {"train": 4, "valid": 26}
    for label in LABELS:
        told = story["labels"][label]
        assert told["positives"] + told["negatives"] == 26
        low, high = told["auroc_interval"]
        assert low < told["auroc"] < high
        truth = [float(row["truth"]) for (_, name), row in answers(trained).items() if name == label]
        scores = [float(row["logit"]) for (_, name), row in answers(trained).items() if name == label]
        pairs = [
            (p > n) + 0.5 * (p == n)
            for p, t in zip(scores, truth, strict=True) if t == 1
            for n, u in zip(scores, truth, strict=True) if u == 0
        ]  # fmt: skip
        area = float(np.mean(pairs))
        # A label whose order Platt would turn round is left as it is; else order is kept.
        assert told["auroc"] == pytest.approx(area, abs=1e-4)
    spec = load_spec(str(trained / "model.toml"))
    assert spec.training["epoch"] in (1, 2)
    assert not spec.demonstration


GIVEN = """name = "given"
description = "A network."
intended_use = "Screening."
architecture = "axialnet"
demonstration = true
[parameters]
trunk_width = 4
head_channels = [8]
[weights]
file = "other.pth"
[labels]
file = "labels.txt"
threshold = 0.3
thresholds = { mass = 0.7 }
[labels.codes]
mass = { scheme = "SCT", value = "4147007", meaning = "Mass" }
cardiomegaly = { scheme = "SCT", value = "8186001", meaning = "Cardiomegaly" }
[explanation]
target_layer = "conv.0"
at = "input"
placement = "stretch"
freeze = ["layer-norm"]
[training]
note = "Of another training."
"""


def test_the_model_file_keeps_all_of_the_given_one_that_still_holds(tmp_path: Path) -> None:
    rest = model_text()[model_text().index("[input]") :]
    (tmp_path / "given.toml").write_text(GIVEN + rest)
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    given = load_spec(str(tmp_path / "given.toml"))
    choice = Choice((Scaling(1.0, 0.0, False),) * 3, tuple(Threshold(v, "youden") for v in (0.1, 0.2, 0.4)))
    document = model_document(given, "run", "0" * 64, choice, {"epoch": 3})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.toml").write_text(tomli_w.dumps(document))
    spec = load_spec(str(tmp_path / "run" / "model.toml"))
    changed = {"name": "run", "thresholds": [0.1, 0.2, 0.4], "demonstration": False}
    assert spec.described() == given.described() | changed
    assert spec.codes["mass"] == Code("SCT", "4147007", "Mass")
    assert (spec.at, spec.placement, spec.freeze) == ("input", "stretch", ("layer-norm",))
    assert spec.intended_use == "Research; not for diagnosis."
    assert spec.description == "A network. Trained by hirescam train."
    assert spec.training == {"epoch": 3}
    assert spec.weights_files == (tmp_path / "run" / "weights.safetensors",)


def test_it_explains_at_once_and_completeness_is_exact(trained: Path, world: World, tmp_path: Path) -> None:
    """Logits of `explain` are those of validation.csv, calibrated; map plus bias is the logit."""
    document = tomllib.loads((trained / "model.toml").read_text())
    fitted = [label for label in LABELS if "scale" in document["training"]["labels"][label]]
    assert fitted, "no label was calibrated, so this shows nothing"
    scan = world.folder / world.rows()[0]["path"]
    settings = Settings(model=str(trained / "model.toml"), labels="all", formats=("nifti",), device="cpu")
    result = explain({"again-0": scan}, tmp_path, settings=settings)
    assert result.exit_code == 0
    case = read_case(tmp_path / "again-0", "again-0")
    assert isinstance(case, Case)
    for label in case.labels:
        row = answers(trained)["again-0", label.name]
        assert label.logit == pytest.approx(float(row["logit"]), abs=2e-5)
        assert label.probability == pytest.approx(float(row["probability"]), abs=1e-5)
        assert label.maps["hirescam"].complete
        assert label.maps["hirescam"].residual < 1e-5
        assert label.threshold == document["labels"]["thresholds"][label.name]


def test_calibration_is_folded_into_the_head_and_nothing_else(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(world.request(run, table=many_rows(world, 26), epochs=1))
    told = tomllib.loads((run / "model.toml").read_text())["training"]["labels"]
    checkpoint = load_checkpoint(run)
    assert checkpoint is not None
    weights = safetensors.torch.load_file(run / "weights.safetensors")
    same = [k for k in weights if not k.startswith("fc.")]
    assert len(same) > 60
    assert all(torch.equal(weights[k], checkpoint.weights[k]) for k in same)
    scale = torch.tensor([told[label].get("scale", 1.0) for label in LABELS])
    offset = torch.tensor([told[label].get("offset", 0.0) for label in LABELS])
    assert (scale != 1).any()
    torch.testing.assert_close(
        weights["fc.weight"], checkpoint.weights["fc.weight"] * scale.reshape(-1, 1, 1, 1)
    )
    torch.testing.assert_close(weights["fc.bias"], checkpoint.weights["fc.bias"] * scale + offset)


def test_a_finished_run_is_left_alone_and_can_be_prolonged(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(world.request(run, epochs=1, augment="none"))
    before = (run / "weights.safetensors").read_bytes()
    assert train(world.request(run, epochs=1, augment="none")).status == "already-done"
    assert (run / "weights.safetensors").read_bytes() == before
    assert train(world.request(run, epochs=2, augment="none")).document["epochs"] == 2  # type: ignore[index]
    whole = tmp_path / "whole"
    train(world.request(whole, epochs=2, augment="none"))
    for name in ("weights.safetensors", "validation.csv"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


def test_a_cache_changes_no_bit_and_a_damaged_one_is_made_anew(world: World, tmp_path: Path) -> None:
    bits = []
    cache = tmp_path / "cache"
    for name, folder in (("none", None), ("made", cache), ("used", cache), ("damaged", cache)):
        if name == "damaged":
            for path in cache.iterdir():
                path.write_bytes(path.read_bytes()[:-7])
        train(world.request(tmp_path / name, epochs=1, cache=folder))
        bits.append((tmp_path / name / "weights.safetensors").read_bytes())
    assert len(set(bits)) == 1
    assert len(list(cache.iterdir())) == 8


def test_training_leaves_the_callers_random_numbers_alone(world: World, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(world.request(tmp_path / "run", epochs=1))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_patience_ends_a_run_and_the_best_weights_stay(world: World, tmp_path: Path) -> None:
    """With a rate far too small nothing changes in the weights but the statistics, so some epoch is the best."""
    events: list[Event] = []
    train(world.request(tmp_path / "run", epochs=9, patience=1, lr=1e-12, augment="none"), events.append)
    epochs = [event for event in events if event.name == "epoch"]
    assert len(epochs) < 9
    assert not epochs[-1].facts["best"]
    assert all(event.facts["best"] for event in epochs[:-1])
    model = load_model(load_spec(str(tmp_path / "run" / "model.toml")))
    assert model.spec.training["epoch"] == len(epochs) - 1


def test_bf16_of_the_trunk_is_near_and_says_so(world: World, tmp_path: Path) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        # So low a rate that all steps see the first weights: what differs is the rounding alone.
        result = train(world.request(tmp_path / precision, epochs=1, precision=precision, lr=1e-9))
        assert result.document is not None
        assert result.document["precision"] == precision
        losses[precision] = result.document["best"]["train"]["total"]  # type: ignore[index]
    assert losses["fp32"] != losses["bf16"]
    assert losses["fp32"] == pytest.approx(losses["bf16"], rel=0.03)
