"""One case from file to folder: the same scan in any format and orientation gives the same case."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import nibabel
import numpy as np
import pytest
import safetensors.torch
from numpy.typing import NDArray

from hirescam_cli.case import document as document_of
from hirescam_cli.case import record
from hirescam_cli.case.identity import params_hash
from hirescam_cli.errors import ModelError, ScanError, UnavailableError, UsageError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io import InputPath, ReadOptions, discover
from hirescam_cli.model.spec import ModelSpec, load_spec
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
from tests.explain.networks import tiny
from tests.geometry.worlds import ORIENTATIONS, affine_of, reordered, rotated
from tests.io.dicom_factory import expected_affine_ras, make_series
from tests.models import axial, radchest_toml
from tests.results.test_nifti import at_world

MODEL = """
name = "tiny"
intended_use = "tests"
architecture = "axialnet"
parameters = { trunk_width = 2, head_channels = [6, 5, 4, 4] }
labels = { names = ["nodule", "mass", "pleural effusion", "fibrosis", "cyst"], threshold = 0.5 }
weights = { file = "tiny.safetensors" }
explanation = { target_layer = "conv2d.7" }
"""
SPACING = (6.0, 7.0, 5.5)
ORIGIN_LPS = (-150.0, -140.0, -40.0)
BOTH = ("hirescam", "gradcam")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = tmp_path_factory.mktemp("model")
    safetensors.torch.save_file(tiny(5).state_dict(), folder / "tiny.safetensors")
    (folder / "tiny.toml").write_text(MODEL + radchest_toml((5.0, 1.0, 1.0), (12, 420, 420)))
    return load_spec(str(folder / "tiny.toml"))


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(methods=BOTH, labels="all", formats=("nifti",), device="cpu")


@pytest.fixture(scope="module")
def session(settings: Settings, spec: ModelSpec) -> Session:
    return open_session(settings, spec)


@pytest.fixture(scope="module")
def hu() -> NDArray[np.int16]:
    """A scan in LPS order, 300 x 308 x 60.5 mm, smooth in places and noisy in others."""
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 300, size=(50, 44, 11))
    array[10:30, 12:30, 3:8] = rng.integers(-100, 100)
    return array.astype(np.int16)


@dataclass(frozen=True)
class Case:
    """A finished case folder."""

    folder: Path
    record: record.Case

    def overlay(self, method: str, name: str) -> Any:
        (found,) = self.record.outputs_of(method, name, "overlay")
        return nibabel.load(self.folder / found.path)

    @property
    def document(self) -> dict[str, Any]:
        """summary.json as any reader of JSON sees it."""
        document: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return document

    def drawn(self, method: str) -> list[str]:
        """Labels that have an overlay, in the model's order."""
        drawn = {o.label for o in self.record.outputs if o.role == "overlay" and o.method == method}
        return [label.name for label in self.record.labels if label.name in drawn]

    def cams(self, method: str) -> Any:
        return nibabel.load(self.folder / f"{method}.cams.nii.gz")


def save_nifti(path: Path, array: NDArray[Any], affine: Affine) -> Path:
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    return path


def run(session: Session, source: Path, out: Path, settings: Settings | None = None) -> Case:
    settings = settings or session.settings
    (scan,) = discover([InputPath(source)], ReadOptions()).scans
    out.mkdir()
    prepared = read_case(scan, session.facts.spec, settings)
    return Case(out, write_case(out, session.facts, prepared, explain_prepared(session, prepared), settings))


@pytest.fixture(scope="module")
def base(session: Session, hu: NDArray[np.int16], tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The case that others are compared with: the scan as NIfTI in LPS order."""
    folder = tmp_path_factory.mktemp("base")
    affine = expected_affine_ras(SPACING, ORIGIN_LPS)
    return run(session, save_nifti(folder / "scan.nii.gz", hu, affine), folder / "out")


def check_same_case(found: Case, base: Case, codes: str) -> None:
    """Equal numbers, equal maps in the same place, and overlays that agree voxel by voxel in the world."""
    for ours, theirs in zip(found.document["labels"], base.document["labels"], strict=True):
        assert ours["logit"] == theirs["logit"]
        assert ours["slice_scores"] == theirs["slice_scores"]
        for method in BOTH:
            for key in ("sum", "residual", "padding_share"):
                assert ours["maps"][method][key] == pytest.approx(
                    theirs["maps"][method][key], rel=1e-9, abs=1e-12
                )
            peak, expected = ours["maps"][method]["peak"], theirs["maps"][method]["peak"]
            assert peak["value"] == expected["value"]
            np.testing.assert_allclose(peak["world_mm"], expected["world_mm"], atol=1e-4)
    assert found.document["coverage"] == base.document["coverage"]
    for method in BOTH:
        ours, theirs = found.cams(method), base.cams(method)
        np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
        image, expected = found.overlay(method, "nodule"), base.overlay(method, "nodule")
        raw, affine = reordered(np.asarray(expected.dataobj.get_unscaled()), expected.affine, codes)
        assert affines.orientation(image.affine) == codes
        np.testing.assert_allclose(image.affine, affine, atol=1e-3)
        difference = np.abs(np.asarray(image.dataobj.get_unscaled()).astype(int) - raw)
        assert difference.max() <= 1  # a value half-way between two steps may round either way
        assert (difference > 0).mean() < 1e-3
        assert np.count_nonzero(raw) > 1000


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_the_48_orientations_of_a_scan_give_the_same_case(
    session: Session, hu: NDArray[np.int16], base: Case, tmp_path: Path, codes: str
) -> None:
    stored, affine = reordered(hu, expected_affine_ras(SPACING, ORIGIN_LPS), codes)
    found = run(session, save_nifti(tmp_path / "scan.nii", stored, affine), tmp_path / "out")
    assert found.document["input"]["orientation"] == codes
    check_same_case(found, base, codes)


def test_dicom_and_nifti_of_one_volume_give_the_same_case(
    session: Session, hu: NDArray[np.int16], base: Case, tmp_path: Path
) -> None:
    make_series(tmp_path / "series", hu, SPACING, origin_lps=ORIGIN_LPS)
    found = run(session, tmp_path / "series", tmp_path / "out")
    assert found.document["input"]["kind"] == "dicom"
    assert found.document["input"]["series_uid"]
    check_same_case(found, base, "LPS")


@pytest.mark.parametrize("placement", ["stretch", "receptive-field"])
@pytest.mark.parametrize("degrees", [0.0, 18.0])
def test_overlays_are_the_exact_maps_at_each_voxels_world_position(
    spec: ModelSpec,
    settings: Settings,
    hu: NDArray[np.int16],
    tmp_path: Path,
    placement: str,
    degrees: float,
) -> None:
    changed = replace(settings, placement=placement, methods=("hirescam",), labels="top:1")
    affine = rotated(expected_affine_ras(SPACING, ORIGIN_LPS), (1, 2, 0), degrees)
    source = save_nifti(tmp_path / "scan.nii", hu, affine)
    case = run(open_session(changed, spec), source, tmp_path / "out", changed)
    assert any(warning.code == "oblique" for warning in case.record.warnings) == (degrees > 10)
    (name,) = case.drawn("hirescam")
    image, cams = case.overlay("hirescam", name), case.cams("hirescam")
    np.testing.assert_allclose(
        cams.affine, case.document["target"]["affines"][placement], rtol=1e-5, atol=1e-3
    )
    index = np.random.default_rng(1).integers(0, hu.shape, size=(2000, 3))
    # A thousandth of a cell inside, where rounding of the files' float32 affines cannot matter.
    world = affines.apply(affine, index)
    cell = affines.apply(np.linalg.inv(cams.affine), world)
    edge = np.abs(cell + 0.5 - np.array(cams.shape[:3]) * (cell > 1)).min(axis=1) < 1e-3
    expected = at_world(np.asarray(cams.dataobj)[..., case.record.label(name).index], cams.affine, world)
    found = image.get_fdata()[tuple(index.T)]
    assert np.abs(found - expected)[~edge].max() <= float(image.dataobj.slope) * 0.51
    assert edge.mean() < 0.05
    assert np.count_nonzero(expected) > 100


def test_what_a_case_folder_holds(base: Case, spec: ModelSpec) -> None:
    document = base.document
    assert document_of.load((base.folder / "summary.json").read_bytes()) == base.record
    jsonschema.Draft202012Validator(document_of.schema()).validate(document)
    slugs = ("nodule", "mass", "pleural_effusion", "fibrosis", "cyst")
    expected = {f"{m}.{s}.nii.gz" for m in BOTH for s in ("cams", *slugs)}
    assert {path.name for path in base.folder.iterdir()} == expected | {"summary.json"}
    assert {entry["path"] for entry in document["outputs"]} == expected
    for entry in document["outputs"]:
        data = (base.folder / entry["path"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert [entry["name"] for entry in document["labels"]] == list(spec.labels)
    assert (document["seen"]["shape"], document["seen"]["window_hu"]) == ([12, 420, 420], [-1000.0, 200.0])
    assert document["target"]["cells"] == [4, 6, 6]
    assert document["methods"] == {
        "hirescam": {"title": "HiResCAM", "unit": "logits per cell", "certificate": "exact", "frozen": []},
        "gradcam": {"title": "Grad-CAM", "unit": "logits per cell", "certificate": "none", "frozen": []},
    }
    assert document["run"]["device"] == "cpu"
    assert document["run"]["fallbacks"] == []
    assert all(value >= 0 for value in document["run"]["seconds"].values())
    assert document["run"]["seconds"]["total"] == pytest.approx(
        sum(v for k, v in document["run"]["seconds"].items() if k != "total")
    )
    assert str(base.folder.parent) not in (base.folder / "summary.json").read_text()


def test_certificates_peaks_and_scores_follow_from_the_files(base: Case) -> None:
    for entry in base.document["labels"]:
        cams = np.asarray(base.cams("hirescam").dataobj)[..., entry["index"]]
        maps = entry["maps"]["hirescam"]
        assert maps["complete"]
        assert maps["sum"] == pytest.approx(float(cams.astype(float).sum()), rel=1e-9)
        assert abs(maps["sum"] + maps["bias"] - entry["logit"]) <= 1e-4 * max(1, abs(entry["logit"]))
        assert np.mean(entry["slice_scores"]) == pytest.approx(entry["logit"], rel=1e-5, abs=1e-6)
        cell = np.unravel_index(cams.argmax(), cams.shape)
        world = affines.apply(base.cams("hirescam").affine, cell)
        np.testing.assert_allclose(maps["peak"]["world_mm"], world, atol=1e-3)
        if maps["peak"]["index_ijk"] is not None:
            scan = np.array(base.document["input"]["affine"])
            offset = affines.apply(np.linalg.inv(scan), world) - maps["peak"]["index_ijk"]
            assert np.abs(offset).max() <= 0.5 + 1e-6
        assert entry["positive"] == (entry["probability"] >= 0.5)


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
        ({"methods": ("cam",)}, UsageError, "usage"),
        ({"methods": ()}, UsageError, "usage"),
        ({"threshold": 1.5}, UsageError, "usage"),
        ({"placement": "rf"}, UsageError, "usage"),
        ({"device": "tpu"}, UsageError, "device-unknown"),
        ({"device": "cpu:1"}, UsageError, "device-unknown"),
        ({"weights": Path("absent.pt")}, UnavailableError, "weights-unavailable"),
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
        replace(settings, model="x", weights=Path("y")),
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
