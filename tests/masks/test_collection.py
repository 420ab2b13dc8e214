"""Masks are found by the case's path, then by its last part, and refused where they cannot be trusted."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from hirescam_cli.errors import MaskError, NoInputError, UsageError
from hirescam_cli.masks.collection import find_masks
from hirescam_cli.masks.mask import read_mask

AFFINE = np.array([[0.0, -2.0, 0, 5], [3.0, 0, 0, -7], [0, 0, 4.0, 11], [0, 0, 0, 1]])


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def blob() -> np.ndarray:
    values = np.zeros((3, 4, 5), dtype=np.uint8)
    values[1, 2, 3] = 7
    return values


def test_a_mask_keeps_its_voxels_and_its_place(tmp_path: Path) -> None:
    save(tmp_path / "a/ct/nodule.nii.gz", blob())
    mask = find_masks(tmp_path, ["a/ct"], None).of("a/ct").load("nodule")
    assert np.argwhere(mask.array_ijk).tolist() == [[1, 2, 3]]
    assert np.array_equal(mask.affine_ras, AFFINE)
    assert len(mask.sha256) == 64


def test_masks_match_by_path_then_by_the_last_part(tmp_path: Path) -> None:
    save(tmp_path / "a/ct/one.nii.gz", blob())
    save(tmp_path / "b/ct/two.nii", blob())
    save(tmp_path / "only/three.nii", blob())
    found = find_masks(tmp_path, ["a/ct", "b/ct", "z/only", "none"], None)
    assert [found.of(c).names() for c in ("a/ct", "b/ct", "z/only")] == [("one",), ("two",), ("three",)]
    assert found.of("none") is None


def test_ambiguous_matches_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a/ct/one.nii.gz", blob())
    save(tmp_path / "b/ct/two.nii", blob())
    with pytest.raises(UsageError, match="could be a/ct and b/ct"):
        find_masks(tmp_path, ["c/ct"], None)
    save(tmp_path / "only/three.nii", blob())
    with pytest.raises(UsageError, match="of only and of x/only"):
        find_masks(tmp_path, ["only", "x/only"], None)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(NoInputError):
        find_masks(tmp_path / "none", ["a"], None)


@pytest.mark.parametrize(
    ("values", "affine", "code"),
    [
        (np.arange(60, dtype=np.uint8).reshape(3, 4, 5), AFFINE, "mask-values"),
        (np.zeros((3, 4, 5, 2), dtype=np.uint8), AFFINE, "mask-shape"),
        (blob(), np.array([[1.0, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "mask-sheared"),
        (blob(), None, "mask-no-affine"),
    ],
)
def test_what_cannot_be_trusted_is_refused(
    tmp_path: Path, values: np.ndarray, affine: np.ndarray | None, code: str
) -> None:
    path = save(tmp_path / "m.nii", values, affine)
    with pytest.raises(MaskError) as caught:
        read_mask(path, "m")
    assert caught.value.code == code


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.nii.gz", blob())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(MaskError, match="cannot be read"):
        read_mask(path, "m")
    path.write_bytes(b"nothing")
    with pytest.raises(MaskError, match="cannot be read"):
        read_mask(path, "m")
