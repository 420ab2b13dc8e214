"""Real masks beside real scans: the same region in two formats is the same set of voxels."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from hirescam_cli.geometry import affine as affines
from hirescam_cli.masks.collection import CaseMasks, find_masks
from hirescam_cli.masks.mask import Mask
from hirescam_cli.masks.overlap import overlaps
from tests.masks.mask_world import same_place

pytestmark = pytest.mark.real


def linked(root: Path, *files: tuple[str, Path]) -> Path:
    """A folder of masks: links called (name below it, file)."""
    for name, target in files:
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
    return root


def masks_of(root: Path, case: str) -> CaseMasks:
    collection = find_masks(root, [case], None)
    assert collection.problems == ()
    masks = collection.of(case)
    assert masks is not None
    return masks


def dice(mask: Mask, other: NDArray[np.bool_], affine: NDArray[np.float64]) -> float:
    """Of two masks, each voxel of the first taken to the nearest of the other's grid."""
    world = affines.apply(mask.affine_ras, np.argwhere(mask.array_ijk))
    index = np.rint(affines.apply(np.linalg.inv(affine), world)).astype(int)
    inside = ((index >= 0) & (index < other.shape)).all(axis=1)
    return 2 * int(other[tuple(index[inside].T)].sum()) / (len(index) + int(other.sum()))


def centroid(mask: Mask) -> NDArray[np.float64]:
    return affines.apply(mask.affine_ras, np.argwhere(mask.array_ijk)).mean(axis=0)


def test_rtstruct_and_nifti_of_one_tumour(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "sts_003"
    reference = nibabel.load(source / "CT_mask.nii.gz")
    inside = np.asarray(reference.dataobj) > 0
    expected = affines.apply(reference.affine, np.argwhere(inside)).mean(axis=0)
    root = linked(tmp_path, ("a/rt.dcm", source / "rtstruct.dcm"), ("a/dicom", source / "dicom"))
    with_series = masks_of(root, "a").load("GTV_Mass_CT")
    same_place(with_series, inside, reference.affine, 1e-3)
    alone = masks_of(linked(tmp_path / "alone", ("a/rt.dcm", source / "rtstruct.dcm")), "a").load(
        "GTV_Mass_CT"
    )
    assert alone.grid.spacing_mm == pytest.approx((1.0, 1.0, 3.27), abs=1e-6)
    assert dice(alone, inside, reference.affine) > 0.97
    assert np.abs(centroid(alone) - expected).max() < 0.3
    assert np.abs(centroid(with_series) - expected).max() < 1e-3


def test_seg_and_nrrd_of_one_liver(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "dcmqi_ct3slice"
    root = linked(
        tmp_path, ("a/x.dcm", source / "SEG_liver.dcm"), ("a/liver_nrrd.nrrd", source / "SEG_liver_seg.nrrd")
    )
    masks = masks_of(root, "a")
    assert masks.names() == ("Liver", "liver_nrrd")
    nrrd = masks.load("liver_nrrd")
    same_place(masks.load("Liver"), nrrd.array_ijk, nrrd.affine_ras, 1e-3)


def test_overlapping_segments_and_a_sparse_label_map(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "dcmqi_ct3slice"
    root = linked(
        tmp_path,
        ("a.dcm", source / "SEG_partial_overlaps.dcm"),
        ("b.dcm", source / "SEG_sparse-labelmap-noppv.dcm"),
    )
    collection = find_masks(root, ["a", "b"], None)
    a, b = collection.of("a"), collection.of("b")
    assert a is not None
    assert b is not None
    assert a.names() == ("DARK_BLUE", "GREEN", "LIGHT_BLUE", "ORANGE", "PURPLE")
    assert [int(a.load(name).array_ijk.sum()) for name in ("GREEN", "ORANGE")] == [9602, 11888]
    sparse = b.load("Liver")
    assert b.names() == ("Liver",)
    assert sparse.array_ijk.any(axis=(1, 2)).tolist() == [True, False, True]


def test_totalsegmentator_as_label_map_and_as_files(real_data: Path, tmp_path: Path) -> None:
    aorta, ct = real_data / "totalseg_aorta", real_data / "totalseg_ct"
    files = [
        (f"s1/{name}.nii.gz", aorta / f"{name}.nii.gz")
        for name in ("aorta", "renal_arteries", "vertebrae_T12")
    ]
    masks = masks_of(linked(tmp_path / "files", *files), "s1")
    assert [int(masks.load(name).array_ijk.sum()) for name in masks.names()] == [72810, 0, 9617]
    many = masks_of(linked(tmp_path / "ml", ("s2.nii.gz", ct / "example_seg.nii.gz")), "s2")
    image = nibabel.load(ct / "example_seg.nii.gz")
    values = np.asarray(image.dataobj)
    assert len(many.names()) == 117
    for name, value in (("spleen", 1), ("kidney_right", 2), ("liver", 5)):
        same_place(many.load(name), values == value, image.affine)


def test_lung_masks_on_other_grids(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "elastix_lung"
    root = linked(
        tmp_path, *((f"{n}_mask.mha", source / f"3DCT_lung_{n}_mask.mha") for n in ("baseline", "followup"))
    )
    for name in ("baseline_mask", "followup_mask"):
        mask = masks_of(linked(tmp_path / name, (f"{name}.mha", root / f"{name}.mha")), name).load(name)
        itk = sitk.ReadImage(str(root / f"{name}.mha"))
        assert int(mask.array_ijk.sum()) == int((sitk.GetArrayViewFromImage(itk) != 0).sum())
        for voxel in np.argwhere(mask.array_ijk)[::40_000]:
            lps = np.asarray(itk.TransformIndexToPhysicalPoint(voxel.tolist()))
            np.testing.assert_allclose(affines.apply(mask.affine_ras, voxel), lps * [-1, -1, 1], atol=1e-6)
        small = sitk.ReadImage(str(source / "3DCT_lung_baseline_small.mha"))
        origin = np.asarray(small.GetOrigin()) * [-1, -1, 1]
        grid = affines.from_parts(np.diag([-2.732, -2.732, 5.0]), origin)
        assert overlaps(mask, type(mask.grid)((57, 78, 64), grid))


def test_a_mask_turned_with_its_scan(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "cip_chest64"
    table = tmp_path / "names.csv"
    itk = sitk.ReadImage(str(source / "lm-64-transformed.nrrd"))
    values = sitk.GetArrayFromImage(itk).T
    present = [int(value) for value in np.unique(values) if value]
    table.write_text("".join(f"{value},region {value}\n" for value in present))
    root = linked(tmp_path / "m", ("ct.nrrd", source / "lm-64-transformed.nrrd"))
    masks = find_masks(root, ["ct"], table).of("ct")
    assert masks is not None
    for value in present[:3]:
        mask = masks.load(f"region {value}")
        assert np.array_equal(mask.array_ijk, values == value)
        voxel = np.argwhere(mask.array_ijk)[0]
        lps = np.asarray(itk.TransformIndexToPhysicalPoint(voxel.tolist()))
        np.testing.assert_allclose(affines.apply(mask.affine_ras, voxel), lps * [-1, -1, 1], atol=1e-5)
