"""Every usable real scan goes the whole way with the demonstration model; other readers read the files back."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from hirescam_cli.case.document import schema
from tests.cli.command import hirescam

USABLE = {
    "acrin_flt_torso_dcm": {"acrin_flt_torso_dcm"},
    "cip_chest64": {"dicom", "ct-64", "ct-64-transformed", "crop_ct_2slices"},
    "elastix_lung": {"3DCT_lung", "3DCT_lung_baseline_small"},
    "slicer_cthead64_dcm": {"slicer_cthead64_dcm"},
    "sts_003": {"CT_image", "dicom"},
    "totalseg_aorta": {"ct_cropped"},
    "totalseg_ct": {"dicom", "example_ct", "example_ct_sm"},
}


def _check_case(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    jsonschema.validate(summary, schema())
    assert summary["status"] == "ok"
    assert any(warning["code"] == "demonstration-model" for warning in summary["warnings"])
    shape, affine = summary["input"]["shape"], np.asarray(summary["input"]["affine"])
    overlays = [output["path"] for output in summary["outputs"] if output["role"] == "overlay"]
    assert overlays
    exact = nib.load(folder / "hirescam.cams.nii.gz")
    for entry in summary["labels"]:
        maps = entry["maps"]["hirescam"]
        assert maps["residual"] <= 1e-4
        total = exact.get_fdata()[..., entry["index"]].sum() + maps["bias"]
        assert total == pytest.approx(entry["logit"], abs=1e-4 * max(1.0, abs(entry["logit"])))
    for name in overlays:
        ours = nib.load(folder / name)
        assert list(ours.shape) == shape
        np.testing.assert_allclose(ours.affine, affine, rtol=0, atol=1e-3)
        other = sitk.ReadImage(str(folder / name))
        assert list(other.GetSize()) == shape
        np.testing.assert_allclose(sitk.GetArrayFromImage(other).T, ours.get_fdata(), rtol=0, atol=1e-6)
        lps = np.asarray(other.GetOrigin()) * [-1, -1, 1]
        np.testing.assert_allclose(lps, affine[:3, 3], rtol=0, atol=1e-3)


@pytest.mark.real
@pytest.mark.parametrize("name", sorted(USABLE))
def test_every_usable_scan_is_explained(
    name: str, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    result = hirescam(
        capsys, "explain", real_data / name, "-o", out, "--method", "hirescam,gradcam", "--labels", "top:1",
        "--format", "nifti,png", "--jobs", 0,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "demonstration-model" in result.err
    cases = {p.parent.name for p in out.rglob("summary.json")}
    assert cases == USABLE[name]
    for summary in out.rglob("summary.json"):
        _check_case(summary.parent)


@pytest.mark.real
def test_the_same_volume_as_dicom_and_nrrd_gives_the_same_answer(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for name in ("dicom", "ct-64.nrrd"):
        source = real_data / "cip_chest64" / name
        out = tmp_path / name
        assert hirescam(capsys, "explain", source, "-o", out, "--format", "nifti", "--jobs", 0).code == 0
        (path,) = out.rglob("summary.json")
        summary = json.loads(path.read_text(encoding="utf-8"))
        answers.append([(e["logit"], e["maps"]["hirescam"]["peak"]["world_mm"]) for e in summary["labels"]])
    for first, other in zip(answers[0], answers[1], strict=True):
        # The two files give the spacing with different numbers of digits.
        assert first[0] == pytest.approx(other[0], rel=1e-3, abs=1e-3)
        np.testing.assert_allclose(first[1], other[1], rtol=0, atol=0.05)
