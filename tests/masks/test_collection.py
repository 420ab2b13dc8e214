"""Masks are found by the case's path, then by its last part; what is ambiguous or nobody's is named, never used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.errors import MaskError, NoInputError
from hirescam_cli.geometry import Grid
from hirescam_cli.masks.collection import MaskCollection, find_masks
from hirescam_cli.masks.mask import Mask
from hirescam_cli.masks.overlap import check_overlap, overlaps
from tests.masks.mask_world import GRIDS, OBLIQUE, STRAIGHT, blob, itk, nifti, same_place, two_labels


def found(root: Path, *cases: str, labels: Path | None = None) -> MaskCollection:
    return find_masks(root, cases, labels)


def problems(collection: MaskCollection) -> list[tuple[str, str]]:
    return [(problem.code, problem.path.name) for problem in collection.problems]


def names(collection: MaskCollection, case: str) -> tuple[str, ...] | None:
    masks = collection.of(case)
    return None if masks is None else masks.names()


def test_a_path_counts_before_a_stem(tmp_path: Path) -> None:
    nifti(tmp_path / "a/ct/one.nii.gz", blob())
    nifti(tmp_path / "b/ct/two.nii", blob())
    nifti(tmp_path / "only/three.nii", blob())
    every = found(tmp_path, "a/ct", "b/ct", "z/only", "none")
    assert [names(every, case) for case in ("a/ct", "b/ct", "z/only", "none")] == [
        ("one",),
        ("two",),
        ("three",),
        None,
    ]
    assert every.problems == ()
    loaded = every.of("a/ct")
    assert loaded is not None
    same_place(loaded.load("one"), blob() > 0, STRAIGHT)


def test_a_stem_that_could_be_two_things_is_given_to_nobody(tmp_path: Path) -> None:
    nifti(tmp_path / "a/ct/one.nii.gz", blob())
    nifti(tmp_path / "b/ct/two.nii", blob())
    two_places = found(tmp_path, "c/ct")
    assert two_places.by_case == {}
    assert [problem.code for problem in two_places.problems] == ["mask-ambiguous"]
    assert "a/ct and b/ct could be of c/ct" in two_places.problems[0].text
    nifti(tmp_path / "p/only/three.nii", blob())
    two_cases = found(tmp_path, "a/ct", "b/ct", "x/only", "y/only")
    assert set(two_cases.by_case) == {"a/ct", "b/ct"}
    assert "x/only and y/only" in two_cases.problems[0].text
    # Where one of two cases is called by its path there is no doubt.
    nifti(tmp_path / "only/four.nii", blob())
    exact = found(tmp_path, "a/ct", "b/ct", "only")
    assert names(exact, "only") == ("four",)
    assert problems(exact) == [("mask-unmatched", "only")]


def test_two_places_for_one_path(tmp_path: Path) -> None:
    nifti(tmp_path / "ct.nii.gz", two_labels())
    nifti(tmp_path / "ct/one.nii.gz", blob())
    both = found(tmp_path, "ct")
    assert both.of("ct") is None
    assert [code for code, _ in problems(both)] == ["mask-ambiguous"]


def test_one_file_for_each_case(tmp_path: Path) -> None:
    table = tmp_path / "names.csv"
    table.write_text("1,nodule\n4,mass\n")
    nifti(tmp_path / "m/a.nii.gz", two_labels(), OBLIQUE)
    itk(tmp_path / "m/deep/b.mha", two_labels())
    itk(tmp_path / "m/c.seg.nrrd", two_labels(), Segment0_LabelValue="1", Segment0_Name="cyst")
    every = found(tmp_path / "m", "a", "deep/b", "x/c", labels=table)
    assert [names(every, case) for case in ("a", "deep/b", "x/c")] == [("mass", "nodule")] * 3
    masks = every.of("a")
    assert masks is not None
    same_place(masks.load("mass"), two_labels() == 4, OBLIQUE)
    assert masks.matching(["Nodule", "lung"]) == {"Nodule": "nodule"}
    with pytest.raises(MaskError, match="no mask 'lung'"):
        masks.load("lung")


def test_masks_of_nobody_and_twice_the_same(tmp_path: Path) -> None:
    nifti(tmp_path / "a/nodule.nii.gz", blob())
    itk(tmp_path / "a/Nodule.nrrd", blob())
    nifti(tmp_path / "a/mass.nii.gz", blob())
    nifti(tmp_path / "b/nodule.nii.gz", blob())
    nifti(tmp_path / "c.nii.gz", blob())
    nifti(tmp_path / "a/old/lung.nii.gz", blob())
    (tmp_path / "README.txt").write_text("not a mask")
    every = found(tmp_path, "a")
    assert names(every, "a") == ("mass",)
    assert sorted(code for code, _ in problems(every)) == ["mask-twice"] + ["mask-unmatched"] * 3
    assert {path for code, path in problems(every) if code == "mask-unmatched"} == {"b", "c.nii.gz", "old"}


def test_the_folder_of_segmentations_belongs_to_its_parent(tmp_path: Path) -> None:
    for organ in ("lung_upper_lobe_left", "heart"):
        nifti(tmp_path / f"s0001/segmentations/{organ}.nii.gz", blob())
    every = found(tmp_path, "s0001")
    assert names(every, "s0001") == ("heart", "lung_upper_lobe_left")
    assert every.problems == ()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="Correct --masks"):
        found(tmp_path / "none", "a")


def mask(grid: np.ndarray, inside: np.ndarray) -> Mask:
    return Mask("m", inside, grid, Path("case/m.nii.gz"), "0" * 64)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_another_patients_mask_lies_elsewhere(grid: np.ndarray) -> None:
    inside = blob() > 0
    scan = Grid((7, 6, 5), grid)
    assert overlaps(mask(grid, inside), scan)
    # The one voxel at 5, 1, 3 still reaches the scan if the mask is moved by 5 voxels, and no longer by 6.
    for steps, expected in ((5, True), (6, False)):
        moved = grid.copy()
        moved[:3, 3] -= steps * grid[:3, 0]
        assert overlaps(mask(moved, inside), scan) is expected
        assert overlaps(mask(moved, np.zeros((7, 6, 5), np.bool_)), scan)
    far = grid.copy()
    far[:3, 3] += 500
    with pytest.raises(MaskError, match=r"case/m\.nii\.gz.*outside of the scan"):
        check_overlap(mask(far, inside), scan)
    assert not overlaps(mask(far, np.zeros((7, 6, 5), np.bool_)), scan)


def test_masks_that_differ_in_signs_are_two(tmp_path: Path) -> None:
    nifti(tmp_path / "a/nodule <1cm.nii.gz", blob())
    nifti(tmp_path / "a/nodule >1cm.nii.gz", two_labels() * 0)
    every = found(tmp_path, "a")
    assert every.problems == ()
    masks = every.of("a")
    assert masks is not None
    labels = ["nodule <1cm", "nodule >1cm", "nodule"]
    assert masks.matching(labels) == {label: label for label in labels[:2]}
    assert masks.load("nodule <1cm").array_ijk.any()
    assert not masks.load("nodule >1cm").array_ijk.any()


def test_a_mask_that_could_be_of_two_labels_is_named(tmp_path: Path) -> None:
    nifti(tmp_path / "a/nodule 1cm.nii.gz", blob())
    masks = found(tmp_path, "a").of("a")
    assert masks is not None
    labels = ["nodule <1cm", "nodule >1cm"]
    assert masks.matching(labels) == {}
    (doubt,) = masks.doubts(labels)
    assert (doubt.code, doubt.path.name) == ("mask-ambiguous", "nodule 1cm.nii.gz")
    assert "nodule 1cm could be of nodule <1cm and nodule >1cm" in doubt.text
    assert masks.doubts(["nodule 1cm", "nodule >1cm"]) == []


def test_what_is_refused_is_known_to_be_there(tmp_path: Path) -> None:
    nifti(tmp_path / "a/nodule.nii.gz", blob())
    nifti(tmp_path / "a/NODULE.nii.gz", blob())
    nifti(tmp_path / "a/mass.nii.gz", blob())
    masks = found(tmp_path, "a").of("a")
    assert masks is not None
    assert set(masks.refused) == {"nodule", "NODULE"}
    given = masks.assigned(["Nodule", "mass", "cyst"])
    assert given.masks == {"mass": "mass"}
    assert set(given.doubtful) == {"Nodule"}
    assert masks.doubts(["Nodule", "mass", "cyst"]) == []
    assert not masks.unread
    (tmp_path / "a/other.seg.nrrd").write_bytes(b"nothing")
    damaged = found(tmp_path, "a")
    masks = damaged.of("a")
    assert masks is not None
    assert masks.unread
    assert ("mask-unreadable", "other.seg.nrrd") in problems(damaged)
