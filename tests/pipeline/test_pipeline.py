"""One case from file to folder: the same scan in any format and orientation gives the same case."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.case import document as document_of
from hirescam_cli.geometry import affine as affines
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline import (
    Session,
    open_session,
)
from hirescam_cli.settings import Settings
from tests.geometry.worlds import ORIENTATIONS, reordered, rotated
from tests.io.dicom_factory import expected_affine_ras, make_series
from tests.pipeline.pipeline_world import (
    BOTH,
    ORIGIN_LPS,
    SPACING,
    Case,
    check_same_case,
    run,
    save_nifti,
)
from tests.results.test_nifti import at_world


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
