"""What a case folder holds for which options, and what is refused before any scan."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.case import document as document_of
from hirescam_cli.case.identity import params_hash
from hirescam_cli.errors import ModelError, ScanError, UnavailableError, UsageError
from hirescam_cli.io import InputPath, ReadOptions, discover
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline import (
    Session,
    explain_prepared,
    model_warnings,
    now,
    open_session,
    read_case,
    write_case,
    write_failure,
)
from hirescam_cli.settings import Settings
from tests.geometry.worlds import affine_of
from tests.io.dicom_factory import expected_affine_ras
from tests.models import axial
from tests.pipeline.pipeline_world import (
    BOTH,
    ORIGIN_LPS,
    SPACING,
    Case,
    check_same_case,
    run,
    save_nifti,
)


def test_the_scan_is_not_named_in_any_file_header(base: Case) -> None:
    header = base.overlay("hirescam", "nodule").header
    assert header["descrip"].tobytes().rstrip(b"\0") == b"hirescam"


@pytest.mark.parametrize(
    ("choice", "count"), [("all", 5), ("top:2", 2), ("nodule,cyst", 2), ("positive", None)]
)
def test_overlays_are_written_for_the_chosen_labels(
    session: Session,
    base: Case,
    settings: Settings,
    hu: NDArray[np.int16],
    tmp_path: Path,
    choice: str,
    count: int | None,
) -> None:
    source = save_nifti(tmp_path / "scan.nii", hu, expected_affine_ras(SPACING, ORIGIN_LPS))
    case = run(session, source, tmp_path / "out", replace(settings, labels=choice))
    positive = [entry["name"] for entry in base.document["labels"] if entry["positive"]]
    chosen = case.drawn("gradcam")
    assert len(chosen) == (count if count is not None else max(1, len(positive)))
    if choice == "top:2":
        ranked = sorted(base.document["labels"], key=lambda entry: -entry["logit"])
        assert set(chosen) == {entry["name"] for entry in ranked[:2]}
    if choice == "positive":
        assert chosen == positive
    assert len(list(case.folder.glob("*.nii.gz"))) == 2 + 2 * len(chosen)


def test_with_no_positive_label_the_highest_is_shown(
    session: Session, base: Case, settings: Settings, hu: NDArray[np.int16], tmp_path: Path
) -> None:
    source = save_nifti(tmp_path / "scan.nii", hu, expected_affine_ras(SPACING, ORIGIN_LPS))
    case = run(session, source, tmp_path / "out", replace(settings, labels="positive", threshold=1.0))
    highest = max(base.document["labels"], key=lambda entry: entry["logit"])
    if highest["probability"] < 1.0:
        assert not any(entry["positive"] for entry in case.document["labels"])
    assert highest["name"] in case.drawn("hirescam")


@pytest.mark.parametrize(("grid", "ends"), [("cam", [".cam.nii.gz"]), ("both", [".cam.nii.gz", ".nii.gz"])])
def test_overlays_on_the_maps_own_grid(
    session: Session,
    base: Case,
    settings: Settings,
    hu: NDArray[np.int16],
    tmp_path: Path,
    grid: Any,
    ends: list[str],
) -> None:
    source = save_nifti(tmp_path / "scan.nii", hu, expected_affine_ras(SPACING, ORIGIN_LPS))
    case = run(session, source, tmp_path / "out", replace(settings, labels="mass", grid=grid))
    expected = {"hirescam.cams.nii.gz", "gradcam.cams.nii.gz"} | {
        f"{m}.mass{end}" for m in BOTH for end in ends
    }
    assert {path.name for path in case.folder.glob("*.nii.gz")} == expected
    image = nibabel.load(case.folder / "hirescam.mass.cam.nii.gz")
    np.testing.assert_array_equal(
        np.asarray(image.dataobj), np.asarray(base.cams("hirescam").dataobj)[..., 1]
    )


def test_stages_may_run_in_different_processes(
    session: Session, settings: Settings, spec: ModelSpec, hu: NDArray[np.int16], base: Case, tmp_path: Path
) -> None:
    """Whatever travels between the stages survives pickling, and the case is the same."""
    source = save_nifti(tmp_path / "scan.nii.gz", hu, expected_affine_ras(SPACING, ORIGIN_LPS))
    (scan,) = discover([InputPath(source)], ReadOptions()).scans
    travelling = pickle.loads(pickle.dumps((scan, spec, settings)))
    prepared = pickle.loads(pickle.dumps(read_case(*travelling)))
    explained = pickle.loads(pickle.dumps(explain_prepared(session, prepared)))
    facts = pickle.loads(pickle.dumps(session.facts))
    out = tmp_path / "out"
    out.mkdir()
    case = Case(out, write_case(out, facts, prepared, explained, settings))
    check_same_case(case, base, "LPS")
    assert case.document["run"]["params_hash"] == base.document["run"]["params_hash"]


def test_the_same_scan_gives_the_same_files(
    session: Session, base: Case, hu: NDArray[np.int16], tmp_path: Path
) -> None:
    source = save_nifti(tmp_path / "other-name.nii.gz", hu, expected_affine_ras(SPACING, ORIGIN_LPS))
    again = run(session, source, tmp_path / "out")
    assert again.document["outputs"] == base.document["outputs"]


def test_a_case_says_how_little_the_network_saw(session: Session, tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(-900, 200, size=(20, 20, 60)).astype(np.int16)
    far = save_nifti(tmp_path / "long.nii", noise, affine_of("LPS", (4.0, 4.0, 5.0)))
    warnings = {warning.code: warning.text for warning in run(session, far, tmp_path / "a").record.warnings}
    assert "20%" in warnings["little-seen"]
    assert "96%" in warnings["much-padding"]


def test_the_demonstration_model_warns_every_time(spec: ModelSpec) -> None:
    assert model_warnings(spec) == []
    (warning,) = model_warnings(replace(spec, demonstration=True))
    assert warning.code == "demonstration-model"
    assert warning.text.startswith("tiny ")


def test_a_failed_case_says_why_and_satisfies_the_schema(session: Session, tmp_path: Path) -> None:
    error = ScanError("scan.nii is truncated.", hint="Copy it again.", code="nifti-truncated")
    failed = write_failure(tmp_path, "a/scan", now(), error, session.settings, session.facts)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    jsonschema.Draft202012Validator(document_of.schema()).validate(
        json.loads((tmp_path / "summary.json").read_text())
    )
    assert (failed.case, failed.error.code) == ("a/scan", "nifti-truncated")


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"target_layer": "conv2d.9"}, ModelError, "target-layer"),
        ({"target_layer": "fc"}, ModelError, "target-layer"),
        ({"target_layer": "features.7.1.relu"}, ModelError, "target-layer"),
        ({"labels": "noduel"}, UsageError, "label-unknown"),
        ({"labels": "top:0"}, UsageError, "usage"),
        ({"labels": "top:\u00b2"}, UsageError, "usage"),
        ({"device": "cuda:\u00b2"}, UsageError, "device-unknown"),
        ({"device": "mps:0"}, UsageError, "device-unknown"),
        ({"labels": ","}, UsageError, "usage"),
        ({"methods": ("lime",)}, UsageError, "usage"),
        ({"methods": ("cam",)}, ModelError, "method-unavailable"),
        ({"methods": ()}, UsageError, "usage"),
        ({"threshold": 1.5}, UsageError, "usage"),
        ({"placement": "rf"}, UsageError, "usage"),
        ({"device": "tpu"}, UsageError, "device-unknown"),
        ({"device": "cpu:1"}, UsageError, "device-unknown"),
        ({"weights": (Path("absent.pt"),)}, UnavailableError, "weights-unavailable"),
    ],
)
def test_what_cannot_be_is_refused_before_any_scan(
    settings: Settings, spec: ModelSpec, changes: dict[str, Any], error: type[Exception], code: str
) -> None:
    with pytest.raises(error) as caught:
        open_session(replace(settings, **changes), spec)
    assert caught.value.code == code  # type: ignore[attr-defined]


def test_a_device_asked_for_by_name_and_absent_is_an_error(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, spec: ModelSpec
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:0", "cuda:7"):
        with pytest.raises(UnavailableError) as caught:
            open_session(replace(settings, device=device), spec)
        assert (caught.value.code, caught.value.exit_code) == ("device-unavailable", 69)
    facts = open_session(replace(settings, device="auto"), spec).facts
    assert facts.device == "cpu"
    assert len(facts.fallbacks) == 1


def test_the_hash_of_a_run_changes_with_what_changes_the_result(settings: Settings, spec: ModelSpec) -> None:
    def hashed(
        settings: Settings, spec: ModelSpec = spec, weights: str = "a" * 64, precision: str = "fp32"
    ) -> str:
        return params_hash(settings.identity(), spec.described(), weights, precision)

    base = hashed(settings)
    same = [
        replace(settings, device="cuda:1"),
        replace(settings, chunk=7),
        replace(settings, precision="bf16"),
        replace(settings, model="x", weights=(Path("y"),)),
        replace(settings, read=ReadOptions(max_voxels=7, series="largest")),
    ]
    assert {hashed(changed) for changed in same} == {base}
    changes: list[dict[str, Any]] = [
        {"methods": ("gradcam",)}, {"labels": "positive"}, {"threshold": 0.2}, {"target_layer": "conv2d.5"},
        {"placement": "receptive-field"}, {"grid": "both"}, {"formats": ("nifti", "png")},
        {"identifiers": "none"}, {"read": ReadOptions(prefer="qform")}, {"signed": True}, {"compress": 2},
    ]  # fmt: skip
    hashes = {hashed(replace(settings, **change)) for change in changes}
    assert len(hashes | {base}) == len(changes) + 1
    assert hashed(settings, weights="b" * 64) != base
    assert hashed(settings, replace(spec, labels=("a", *spec.labels[1:]))) != base
    assert hashed(settings, replace(spec, preparation=axial((5.0, 1.0, 1.0), 12, subtract=0.5))) != base
    assert hashed(settings, precision="bf16") != base
