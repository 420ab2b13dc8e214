"""Real NIfTI, NRRD and MetaImage files: voxels and affines equal to nibabel's and SimpleITK's."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from hirescam_cli.errors import ScanError
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.volume import Volume
from tests.conftest import REAL_DATA

pytestmark = pytest.mark.real

NIFTI_FOLDERS = (
    "nifti_nibabel", "nifti_odd", "nifti_orientations48", "totalseg_aorta", "totalseg_ct", "sts_003",
    "dicom2nifti_failing/sliceincrement",
)  # fmt: skip
# Refused for a reason that the test of the reading table names.
UNREADABLE = {
    "analyze.hdr", "nifti1.hdr", "example4d.nii.gz", "example_nifti2.nii.gz", "functional.nii",
    "row_major.dconn.nii", "V1.nii.gz", "complex.nii.gz", "complex_image.nii.gz", "ct_perfusion.nii.gz",
    "minimal.nii.gz", "renal_arteries.nii.gz",
}  # fmt: skip
ITK_TOLERANCE_MM = 1e-3


def files(folders: tuple[str, ...], *suffixes: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((REAL_DATA / folder).glob("*"))]
    return [path for path in found if path.name.endswith(suffixes)]


AIR = -1024  # What is below counts as padding.
NIFTI = files(NIFTI_FOLDERS, ".nii", ".nii.gz", ".hdr")
ITK = files(("cip_chest64", "elastix_lung", "dcmqi_ct3slice"), ".nrrd", ".mha")


def load(path: Path) -> Volume:
    (scan,) = discover([InputPath(path)], ReadOptions()).scans
    return read(scan, ReadOptions())


@pytest.mark.usefixtures("real_data")
def test_the_folders_hold_what_they_should() -> None:
    assert len(NIFTI) == 82
    assert len(ITK) == 13
    assert {path.name for path in NIFTI} >= UNREADABLE


@pytest.mark.parametrize("path", NIFTI, ids=lambda path: path.name)
def test_nifti_equals_nibabel(path: Path) -> None:
    if path.name in UNREADABLE:
        with pytest.raises(ScanError):
            load(path)
        return
    volume = load(path)
    image = nib.load(path)
    expected = np.asarray(image.dataobj, dtype=np.float64).reshape(volume.array_ijk.shape)
    assert np.allclose(volume.array_ijk, np.maximum(expected, AIR), rtol=1e-6, atol=1e-6)
    assert np.array_equal(volume.affine_ras, image.affine)
    assert volume.orientation == "".join(nib.aff2axcodes(image.affine))


@pytest.mark.parametrize("path", [p for p in NIFTI if p.name not in UNREADABLE], ids=lambda path: path.name)
def test_nifti_equals_simpleitk(path: Path) -> None:
    volume = load(path)
    image = sitk.ReadImage(str(path))
    expected = np.maximum(sitk.GetArrayFromImage(image).astype(float), AIR).transpose(2, 1, 0)
    assert np.allclose(volume.array_ijk, expected, rtol=1e-6, atol=1e-5)
    corner = [int(n) - 1 for n in volume.array_ijk.shape]
    for index in ([0, 0, 0], corner, [corner[0], 0, 0], [0, corner[1], 0], [0, 0, corner[2]]):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        ras = volume.affine_ras @ [*index, 1]
        assert np.allclose(lps * [-1, -1, 1], ras[:3], atol=ITK_TOLERANCE_MM)


@pytest.mark.parametrize("path", ITK, ids=lambda path: path.name)
def test_itk_formats_equal_simpleitk(path: Path) -> None:
    volume = load(path)
    image = sitk.ReadImage(str(path))
    expected = np.maximum(sitk.GetArrayFromImage(image).astype(float), AIR).transpose(2, 1, 0)
    assert np.array_equal(volume.array_ijk, expected)
    rng = np.random.default_rng(0)
    for _ in range(20):
        index = [int(rng.integers(0, n)) for n in volume.array_ijk.shape]
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        assert np.allclose(lps * [-1, -1, 1], (volume.affine_ras @ [*index, 1])[:3], atol=1e-6)


def test_all_48_orientations_are_one_head(real_data: Path) -> None:
    """The same tissue at the same place, whatever the order of the axes."""
    reference = load(real_data / "nifti_orientations48" / "RAS.nii.gz")
    rng = np.random.default_rng(1)
    indices = np.stack([rng.integers(0, n, 200) for n in reference.array_ijk.shape], axis=1)
    points = indices @ reference.affine_ras[:3, :3].T + reference.affine_ras[:3, 3]
    values = reference.array_ijk[tuple(indices.T)]
    paths = sorted((real_data / "nifti_orientations48").glob("*.nii.gz"))
    assert len(paths) == 48
    for path in paths:
        volume = load(path)
        assert volume.orientation == path.name[:3]
        inverse = np.linalg.inv(volume.affine_ras)
        there = points @ inverse[:3, :3].T + inverse[:3, 3]
        assert np.abs(there - np.rint(there)).max() < 1e-3
        assert np.allclose(volume.array_ijk[tuple(np.rint(there).astype(int).T)], values, atol=1e-4)


def test_nifti_and_dicom_of_one_scan_agree(real_data: Path) -> None:
    """sts_003 as NIfTI and as DICOM: the same HU at the same places."""
    nifti = load(real_data / "sts_003" / "CT_image.nii.gz")
    dicom = load(real_data / "sts_003" / "dicom")
    rng = np.random.default_rng(2)
    indices = np.stack([rng.integers(0, n, 500) for n in nifti.array_ijk.shape], axis=1)
    to_dicom = np.linalg.inv(dicom.affine_ras) @ nifti.affine_ras
    there = indices @ to_dicom[:3, :3].T + to_dicom[:3, 3]
    assert np.abs(there - np.rint(there)).max() < 0.02
    there = np.rint(there).astype(int)
    assert np.array_equal(dicom.array_ijk[tuple(there.T)], nifti.array_ijk[tuple(indices.T)])


def test_nrrd_and_dicom_of_one_scan_agree(real_data: Path) -> None:
    nrrd = load(real_data / "cip_chest64" / "ct-64.nrrd")
    dicom = load(real_data / "cip_chest64" / "dicom")
    assert np.array_equal(nrrd.array_ijk, dicom.array_ijk)
    assert np.allclose(nrrd.affine_ras, dicom.affine_ras, atol=1e-3)
