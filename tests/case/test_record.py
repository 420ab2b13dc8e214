"""summary.json: its values, and its schema for finished and failed cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from hirescam_cli.case import document as document_of
from hirescam_cli.case.publish import SUMMARY
from hirescam_cli.case.record import Agreement, Case, FailedCase, Label
from hirescam_cli.errors import ScanError
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.geometry import Grid
from hirescam_cli.io import InputPath, ReadOptions, discover
from hirescam_cli.model.spec import ModelSpec, load_spec
from hirescam_cli.pipeline import (
    assemble,
    explain_prepared,
    open_session,
    read_case,
    write_case,
    write_failure,
)
from hirescam_cli.volume import Provenance, Volume
from hirescam_cli.warning import Warning
from tests.batch.world import make_model, make_scan, tiny_settings
from tests.geometry.worlds import affine_of
from tests.models import axial

SPEC = ModelSpec(
    name="tiny",
    description="",
    intended_use="tests",
    architecture="axialnet",
    parameters={},
    labels=("nodule", "mass"),
    thresholds=(0.5, 0.9),
    preparation=axial(),
    target_layer="conv2d.7",
    placement="stretch",
)
HASH = "ab" * 32
MAP_AFFINE = affine_of("IPL", (2.4, 56.0, 56.0), (140.0, 140.0, 10.0))
VOLUME = Volume(
    np.arange(60, dtype=np.int16).reshape(3, 4, 5) - 20,
    affine_of("LPS", (0.7, 0.8, 2.5), (1, 2, 3)),
    Provenance("dicom", HASH, series_uid="1.2.3", warnings=(Warning("gap", "a sentence."),)),
)


def explanation() -> Explanation:
    rng = np.random.default_rng(0)
    fine = rng.normal(size=(2, 2, 6, 6)).astype(np.float32)
    coarse = rng.normal(size=(2, 2, 6, 6)).astype(np.float32)
    biases = np.array([0.25, -0.5])
    logits = fine.astype(float).sum(axis=(1, 2, 3)) + biases
    scores = np.stack([logits - 1, logits + 1], axis=1).astype(np.float32)
    return Explanation({"hirescam": fine, "gradcam": coarse}, logits, biases, scores, "conv2d.7")


def entries(threshold: float | None = None) -> tuple[Label, ...]:
    padding = np.zeros((2, 6, 6))
    padding[0] = 1.0
    scan = Grid((64, 64, 64), affine_of("LPS", (5, 5, 5), (160, 160, -160)))
    return assemble.labels(
        explanation(), SPEC, threshold=threshold, map_affine_ras=MAP_AFFINE, scan=scan, padding=padding
    )


@cache
def _written() -> tuple[str, str]:
    """summary.json of a finished and of a failed case, as a run of a small network writes them."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "case").mkdir()
        (folder / "failed").mkdir()
        settings = tiny_settings(
            make_model(folder / "model"), methods=("hirescam", "gradcam"), labels="all", threshold=0.25
        )
        session = open_session(settings, load_spec(settings.model))
        (scan,) = discover([InputPath(make_scan(folder / "scan.nii.gz"))], ReadOptions()).scans
        prepared = read_case(scan, session.facts.spec, settings)
        write_case(folder / "case", session.facts, prepared, explain_prepared(session, prepared), settings)
        error = ScanError("x.nii is truncated.", hint="Copy it again.", code="nifti-truncated")
        write_failure(folder / "failed", "x", "2026-01-02T03:04:05+00:00", error, settings, session.facts)
        ok, bad = ((folder / kind / SUMMARY).read_text() for kind in ("case", "failed"))
        return ok, bad


def finished() -> dict[str, Any]:
    """The summary of a finished case."""
    document: dict[str, Any] = json.loads(_written()[0])
    return document


def failed() -> dict[str, Any]:
    """The summary of a failed case."""
    document: dict[str, Any] = json.loads(_written()[1])
    return document


def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(document_of.schema())
    return jsonschema.Draft202012Validator(
        document_of.schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


@pytest.mark.parametrize("document", [finished, failed])
def test_what_a_run_writes_satisfies_the_schema(document: Callable[[], dict[str, Any]]) -> None:
    validator().validate(document())


def test_a_run_writes_every_key_of_the_schema_and_no_other() -> None:
    for name, document in (("Case", finished()), ("FailedCase", failed())):
        definition = document_of.schema()["$defs"][name]  # type: ignore[index]
        assert set(document) == set(definition["required"]) == set(definition["properties"])
        assert definition["additionalProperties"] is False


def test_the_schema_that_ships_is_the_one_of_the_records() -> None:
    text = resources.files("hirescam_cli.case").joinpath("summary.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == document_of.schema(), "write it again: python -m hirescam_cli.case"


def test_a_record_is_its_json_and_back() -> None:
    for text in _written():
        case = document_of.load(text.encode())
        assert document_of.dump(case).decode() == text
        assert document_of.load(document_of.dump(case)) == case
    assert isinstance(document_of.load(_written()[0].encode()), Case)
    assert isinstance(document_of.load(_written()[1].encode()), FailedCase)


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("ok", {"status": "fine"}),
    ("ok", {"schema_version": 1}),
    ("ok", {"labels": []}),
    ("ok", {"input": None}),
    ("ok", {"error": {"code": "a", "stage": "read", "message": "b", "hint": None}}),
    ("ok", {"coverage": {"scan_seen_fraction": 1.2, "padding_fraction": 0.0}}),
    ("ok", {"placement": "rf"}),
    ("ok", {"patient": "x"}),
    ("failed", {"error": None}),
    ("failed", {"outputs": [{"path": "a"}]}),
    ("ok", {"target": None}),
    ("ok", {"seen": {}}),
]


@pytest.mark.parametrize(
    ("kind", "change"), FAULTS, ids=[f"{kind}-{next(iter(change))}" for kind, change in FAULTS]
)
def test_the_schema_refuses_documents_that_contradict_themselves(kind: str, change: dict[str, Any]) -> None:
    document = {**(finished() if kind == "ok" else failed()), **change}
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(document)
    with pytest.raises(ValueError):
        document_of.load(json.dumps(document).encode())


@pytest.mark.parametrize("key", sorted(Case.__struct_fields__))
def test_every_key_is_required(key: str) -> None:
    document = finished()
    del document[key]
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(document)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_know_are_never_written(value: float) -> None:
    case = document_of.load(_written()[0].encode())
    labels = (msgspec.structs.replace(case.labels[0], logit=value), *case.labels[1:])
    with pytest.raises(ValueError, match="JSON"):
        document_of.dump(msgspec.structs.replace(case, labels=labels))


def test_what_was_read() -> None:
    assert document_of.plain(assemble.input_of(VOLUME, "uids")) == {
        "kind": "dicom", "fingerprint": HASH, "volume": 0, "shape": [3, 4, 5], "spacing_mm": [0.7, 0.8, 2.5],
        "affine": [[-0.7, 0, 0, 1], [0, -0.8, 0, 2], [0, 0, 2.5, 3], [0, 0, 0, 1]],
        "orientation": "LPS", "series_uid": "1.2.3", "hu_min": -20.0, "hu_max": 39.0,
    }  # fmt: skip
    assert assemble.input_of(VOLUME, "none").series_uid is None
    for text in ("MARK^ALICE", "1.2.3/4", "1.2\n", "", "1." + "2" * 63):
        raw = replace(VOLUME, provenance=replace(VOLUME.provenance, series_uid=text))
        assert assemble.input_of(raw, "uids").series_uid is None


def test_entries_hold_every_label_with_the_evidence_of_each_method() -> None:
    source, found = explanation(), entries()
    assert [(entry.name, entry.index) for entry in found] == [("nodule", 0), ("mass", 1)]
    for index, entry in enumerate(found):
        logit = source.logits[index]
        assert entry.logit == logit
        assert entry.probability == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-12)
        assert entry.threshold == (0.5, 0.9)[index]
        assert entry.positive == (entry.probability >= entry.threshold)
        assert entry.slice_scores == pytest.approx([logit - 1, logit + 1], rel=1e-6)
        fine = source.cams["hirescam"][index].astype(float)
        maps = entry.maps["hirescam"]
        assert maps.complete
        assert maps.sum == pytest.approx(fine.sum(), rel=1e-12)
        assert maps.padding_share == pytest.approx(np.abs(fine[0]).sum() / np.abs(fine).sum(), rel=1e-9)
        cell = np.unravel_index(fine.argmax(), fine.shape)
        assert maps.peak.world_mm == pytest.approx((MAP_AFFINE @ [*cell, 1])[:3].tolist())
        assert not entry.maps["gradcam"].complete
        coarse = source.cams["gradcam"][index].ravel()
        assert isinstance(entry.agreement, Agreement)
        assert entry.agreement.correlation == pytest.approx(np.corrcoef(fine.ravel(), coarse)[0, 1], abs=1e-9)


@pytest.mark.parametrize("threshold", [0.0, 0.31, 1.0])
def test_a_threshold_given_replaces_those_of_the_model(threshold: float) -> None:
    for entry in entries(threshold):
        assert entry.threshold == threshold
        assert entry.positive is bool(entry.probability >= threshold)


def test_with_one_method_there_is_no_agreement() -> None:
    source = explanation()
    alone = Explanation(
        {"hirescam": source.cams["hirescam"]}, source.logits, source.biases, source.slice_scores, "x"
    )
    scan = Grid((4, 4, 4), np.eye(4))
    found = assemble.labels(
        alone, SPEC, threshold=None, map_affine_ras=MAP_AFFINE, scan=scan, padding=np.zeros((2, 6, 6))
    )
    assert [entry.agreement for entry in found] == [None, None]
    assert list(found[0].maps) == ["hirescam"]


def test_extreme_logits_give_probabilities_within_0_and_1() -> None:
    logits = np.array([-1e5, -40.0, 0.0, 40.0, 1e5])
    empty = np.zeros((5, 1), dtype=np.float32)
    probabilities = Explanation({}, logits, logits, empty, "x").probabilities
    assert probabilities.tolist() == pytest.approx([0.0, np.exp(-40.0), 0.5, 1.0, 1.0], abs=1e-12)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_a_failure_says_why_and_holds_nothing_else() -> None:
    document = failed()
    assert document["error"] == {
        "code": "nifti-truncated", "stage": "read", "message": "x.nii is truncated.", "hint": "Copy it again.",
    }  # fmt: skip
    assert (document["labels"], document["outputs"], document["input"]) == ([], [], None)


def test_the_file_is_utf_8_and_reads_back() -> None:
    case = document_of.load(_written()[0].encode())
    told = msgspec.structs.replace(case, warnings=(Warning("höhle", "ein Satz."),))
    assert "höhle".encode() in document_of.dump(told)
    assert document_of.load(document_of.dump(told)) == told
