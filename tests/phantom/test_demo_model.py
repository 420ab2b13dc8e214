"""The shipped demonstration model: its weights, its published figures, and what it says of phantoms it has not seen."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors import safe_open

from hirescam_cli.model.load import load_model
from hirescam_cli.model.spec import load_spec
from hirescam_cli.phantom import FINDINGS
from hirescam_cli.phantom.data import varied_phantom
from hirescam_cli.phantom.evaluate import HELDOUT_SEED, NEAR_MM, Examiner, Outcome, summarise, table
from hirescam_cli.phantom.samples import nifti_phantom, series_phantom
from hirescam_cli.phantom.train import TRAIN_SCANS, TRAIN_SEED, VALIDATION_SCANS
from hirescam_cli.resources import sample_path

SCANS = 8


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


def test_the_held_out_phantoms_are_not_those_of_the_training() -> None:
    figures = json.loads(sample_path("demo-heldout.json").read_text())
    used = range(TRAIN_SEED, TRAIN_SEED + TRAIN_SCANS + VALIDATION_SCANS)
    held_out = range(figures["first_seed"], figures["first_seed"] + figures["scans"])
    assert not set(used) & set(held_out)
    assert figures["scans"] >= 100


def test_the_published_figures_are_of_the_shipped_weights() -> None:
    figures = json.loads(sample_path("demo-heldout.json").read_text())
    assert (figures["weights_sha256"],) == load_spec("demo").weights_sha256
    assert [row["label"] for row in figures["labels"]] == list(FINDINGS)
    auroc = {row["label"]: row["auroc"] for row in figures["labels"]}
    assert min(auroc.values()) >= 0.95
    near = {row["label"]: row["hirescam"]["peak_near"] for row in figures["labels"]}
    assert near.pop("nodule") >= 0.6, "nodules are far smaller than a cell"
    assert min(near.values()) >= 0.85
    assert len(table(figures["labels"]).splitlines()) == 2 + len(FINDINGS)


def test_unseen_scans_are_ranked_and_explained(outcomes: list[Outcome], examiner: Examiner) -> None:
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
    rows = summarise(examiner.model, outcomes)
    assert sum(row["true_positives"] for row in rows) == called.sum()


@pytest.mark.parametrize("make", [nifti_phantom, series_phantom])
def test_the_samples_findings_are_recognised(make: object, examiner: Examiner) -> None:
    """Most labels of both shipped samples are called rightly: what `hirescam demo` shows is worth showing."""
    outcome = examiner.outcome(make())  # type: ignore[operator]
    assert ((outcome.logits > 0) == outcome.present).mean() >= 0.75
