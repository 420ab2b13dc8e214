"""The shipped demonstration model: its weights, its published figures, and what it says of phantoms it has not seen."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from hirescam_cli.model.load import load_model
from hirescam_cli.model.spec import load_spec
from hirescam_cli.phantom import FINDINGS
from hirescam_cli.phantom.dataset import table, varied_phantom
from hirescam_cli.phantom.samples import nifti_phantom, series_phantom
from hirescam_cli.resources import sample_path
from hirescam_cli.train.layout import Layout
from hirescam_cli.train.read_table import read_table
from hirescam_cli.train.table import Source, Table
from tests.phantom.examiner import NEAR_MM, Examiner, Outcome
from tests.phantom.held_out import HELDOUT_SCANS, HELDOUT_SEED, MEAN

SCANS = 8
TRAIN_SEED, TRAIN_SCANS = 100_000, 1200


@pytest.fixture(scope="module")
def examiner() -> Examiner:
    return Examiner(load_model(load_spec("demo")))


@pytest.fixture(scope="module")
def outcomes(examiner: Examiner) -> list[Outcome]:
    """Scans beyond those that the published figures are of."""
    return [examiner.outcome(varied_phantom(HELDOUT_SEED + 5000 + n)) for n in range(SCANS)]


def test_the_weights_are_those_that_the_description_names() -> None:
    spec = load_spec("demo")
    assert spec.demonstration
    assert spec.weights_files == (sample_path("demo.safetensors"),)
    assert hashlib.sha256(spec.weights_files[0].read_bytes()).hexdigest() == spec.weights_sha256[0]


def test_the_weights_are_float32_under_the_authors_names() -> None:
    with safe_open(sample_path("demo.safetensors"), framework="np") as weights:
        names = set(weights.keys())
        assert {weights.get_slice(n).get_dtype() for n in names} == {"F32"}
        assert weights.get_slice("fc.weight").get_shape() == [len(FINDINGS), 48, 6, 6]
    assert {n.split(".")[0] for n in names} == {"features", "conv2d", "fc"}


def training_table(folder: Path) -> Table:
    """The table that `hirescam phantom DIR -n 1200 --seed 100000` writes, as `train` reads it."""
    path = folder / "labels.csv"
    path.write_text(table(range(TRAIN_SEED, TRAIN_SEED + TRAIN_SCANS)))
    return read_table((Source(path),), FINDINGS, Layout())


def test_the_model_file_says_which_phantoms_it_was_trained_on(tmp_path: Path) -> None:
    told, found = load_spec("demo").training, training_table(tmp_path)
    assert told["data_sha256"] == found.sha256
    assert told["scans"] == {split: len(found.of(split)) for split in ("train", "valid")}


def test_the_held_out_phantoms_are_not_those_of_the_training() -> None:
    figures = json.loads(sample_path("demo-heldout.json").read_text())
    held_out = range(figures["first_seed"], figures["first_seed"] + figures["scans"])
    assert held_out == range(HELDOUT_SEED, HELDOUT_SEED + HELDOUT_SCANS)
    assert not set(range(TRAIN_SEED, TRAIN_SEED + TRAIN_SCANS)) & set(held_out)


def test_the_published_figures_are_of_the_shipped_weights() -> None:
    figures = json.loads(sample_path("demo-heldout.json").read_text())
    assert (figures["weights_sha256"],) == load_spec("demo").weights_sha256
    assert [row["label"] for row in figures["labels"]] == list(FINDINGS)
    auroc = {row["label"]: row["auroc"] for row in figures["labels"]}
    assert min(auroc.values()) >= 0.95
    near = {row["label"]: row["near"]["hirescam"][0] for row in figures["finds"]["stretch"]}
    assert set(near) == {*FINDINGS, MEAN}
    assert near.pop("nodule") >= 0.6, "nodules are far smaller than a cell"
    assert min(near.values()) >= 0.8


def test_unseen_scans_are_ranked_and_explained(outcomes: list[Outcome]) -> None:
    """Over all labels together: present ones score higher, and HiResCAM points near them far more often than chance."""
    logits, present = (np.array([getattr(o, name) for o in outcomes]) for name in ("logits", "present"))
    assert present.sum() >= 8
    wins = logits[present][:, None] > logits[~present][None]
    assert wins.mean() > 0.9
    assert ((logits > 0) == present).mean() > 0.8
    called = present & (logits > 0)
    near = np.array([o.distance_mm["hirescam"] for o in outcomes])[called] <= NEAR_MM
    blind = np.array([o.blind for o in outcomes])[called]
    assert near.mean() > 0.6
    assert blind.mean() < 0.3


@pytest.mark.parametrize("make", [nifti_phantom, series_phantom])
def test_the_samples_findings_are_recognised(make: object, examiner: Examiner) -> None:
    """Most labels of both shipped samples are called rightly: what `hirescam demo` shows is worth showing."""
    outcome = examiner.outcome(make())  # type: ignore[operator]
    assert ((outcome.logits > 0) == outcome.present).mean() >= 0.75
