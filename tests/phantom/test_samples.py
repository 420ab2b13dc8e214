"""The shipped sample files: readable by others' readers, in agreement with each other, and what the script writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from hirescam_cli.phantom.samples import nifti_phantom, series_phantom, write_nifti, write_samples
from hirescam_cli.resources import sample_path

NAMES = ("phantom", "series")


def truth(name: str) -> dict[str, Any]:
    return json.loads(sample_path(f"{name}.json").read_text())


def mask_files(name: str) -> dict[str, Path]:
    return {p.name.removesuffix(".nii.gz"): p for p in sorted(sample_path(f"{name}.masks").glob("*.nii.gz"))}


@pytest.fixture(scope="module")
def image() -> Any:
    return nib.load(sample_path("phantom.nii.gz"))


@pytest.fixture(scope="module")
def slices() -> list[Any]:
    return [pydicom.dcmread(path) for path in sorted(sample_path("series").glob("*.dcm"))]


def test_sample_data_is_small() -> None:
    sizes = {p.name: p.stat().st_size for p in sample_path().rglob("*") if p.is_file()}
    assert sum(sizes.values()) < 12e6
    assert sizes["demo.safetensors"] < 4e6


def test_the_nifti_is_a_ct_with_both_transforms(image: Any) -> None:
    truths = truth("phantom")
    assert image.shape == tuple(truths["shape_ijk"])
    assert "".join(nib.aff2axcodes(image.affine)) == truths["orientation"] == "LAS"
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
    np.testing.assert_allclose(image.get_sform(), image.get_qform(), atol=1e-3)
    np.testing.assert_allclose(image.header.get_zooms(), truths["spacing_mm"], atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.get_data_dtype() == np.int16
    array = np.asanyarray(image.dataobj)
    assert array.min() >= -1024
    assert array.max() > 1500


def test_simpleitk_reads_the_same_nifti(image: Any) -> None:
    other = sitk.ReadImage(str(sample_path("phantom.nii.gz")))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(other).T, np.asanyarray(image.dataobj))
    lps = np.diag([-1.0, -1.0, 1.0])
    np.testing.assert_allclose(
        other.TransformIndexToPhysicalPoint((3, 5, 7)), lps @ (image.affine @ (3, 5, 7, 1))[:3], atol=1e-3
    )


@pytest.mark.parametrize("name", NAMES)
def test_masks_and_truth_agree(name: str) -> None:
    truths, files = truth(name), mask_files(name)
    assert sorted(files) == sorted(truths["findings"]) == sorted({ln["label"] for ln in truths["lesions"]})
    for label, path in files.items():
        mask = nib.load(path)
        assert mask.shape == tuple(truths["shape_ijk"])
        values = np.asanyarray(mask.dataobj)
        assert values.dtype == np.uint8
        assert set(np.unique(values)) == {0, 1}
        own = [ln for ln in truths["lesions"] if ln["label"] == label]
        ml = values.sum() * np.prod(mask.header.get_zooms()) / 1000
        assert sum(ln["volume_ml"] for ln in own) == pytest.approx(ml, rel=1e-3)
        for lesion in own:
            index = np.rint(nib.affines.apply_affine(np.linalg.inv(mask.affine), lesion["centre_mm"])).astype(
                int
            )
            assert values[tuple(index)] == 1, lesion


def test_nifti_masks_mark_what_the_image_shows(image: Any) -> None:
    hu = np.asanyarray(image.dataobj)
    medians = {
        label: np.median(hu[np.asanyarray(nib.load(p).dataobj) == 1])
        for label, p in mask_files("phantom").items()
    }
    for path in mask_files("phantom").values():
        np.testing.assert_allclose(nib.load(path).affine, image.affine, atol=1e-4)
    assert -20 < medians["nodule"] < 90
    assert 0 < medians["mass"] < 90
    assert -10 < medians["pleural_effusion"] < 35
    assert medians["pacemaker_or_defib"] > 1000


def test_the_series_is_one_plain_ct_volume(slices: list[Any]) -> None:
    assert len(slices) == 58
    assert len({s.SeriesInstanceUID for s in slices}) == 1
    assert len({s.SOPInstanceUID for s in slices}) == 58
    for s in slices:
        assert s.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert (s.Rows, s.Columns, s.Modality) == (128, 128, "CT")
        assert [float(v) for v in s.PixelSpacing] == [2.7, 2.7]
        assert all(uid.is_valid for uid in (s.SOPInstanceUID, s.SeriesInstanceUID, s.StudyInstanceUID))
    steps = np.diff([float(s.ImagePositionPatient[2]) for s in slices])
    np.testing.assert_allclose(steps, 5.0, atol=1e-3)


def test_the_series_names_no_patient(slices: list[Any]) -> None:
    for s in slices:
        assert str(s.PatientName) == s.PatientID == "PHANTOM"
        assert not s.PatientBirthDate
        assert not s.PatientSex


def test_the_series_is_the_phantom_in_the_patients_space(slices: list[Any]) -> None:
    """Read by SimpleITK, every voxel and every voxel's place are those of the generated phantom."""
    phantom = series_phantom()
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(sample_path("series"))))
    volume = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume).T, phantom.volume.array_ijk)
    point = np.array(volume.TransformIndexToPhysicalPoint((10, 20, 30))) * (-1, -1, 1)
    np.testing.assert_allclose(point, (phantom.volume.affine_ras @ (10, 20, 30, 1))[:3], atol=1e-3)
    assert slices[0].pixel_array.min() >= 0


def test_the_nifti_is_the_phantom_of_its_seed(image: Any) -> None:
    phantom = nifti_phantom()
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), phantom.volume.array_ijk)
    np.testing.assert_allclose(image.affine, phantom.volume.affine_ras, atol=1e-3)
    for label, path in mask_files("phantom").items():
        np.testing.assert_array_equal(np.asanyarray(nib.load(path).dataobj) == 1, phantom.masks[label])


def test_the_script_writes_the_shipped_files(tmp_path: Path) -> None:
    write_samples(tmp_path)
    written = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    shipped = {p.relative_to(sample_path()) for p in sample_path().rglob("*") if p.is_file()}
    assert set(written) == {p for p in shipped if not p.name.startswith("demo")}
    for path, data in written.items():
        if path.suffix in (".dcm", ".json"):
            assert data == sample_path(*path.parts).read_bytes(), path


def test_written_nifti_files_carry_no_time_stamp(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, array, np.diag([1.0, 2.0, 3.0, 1.0]))
    first, second = (tmp_path / "a.nii.gz").read_bytes(), (tmp_path / "b.nii.gz").read_bytes()
    assert first == second
    assert first[4:8] == b"\0\0\0\0"
    np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / "a.nii.gz").dataobj), array)
