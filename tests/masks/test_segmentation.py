"""DICOM SEG, written by highdicom: frames lie where their positions say, whatever their order."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from hirescam_cli.errors import MaskError
from hirescam_cli.masks.collection import find_masks
from hirescam_cli.masks.segmentation import load_segments, segment_names
from tests.io.dicom_factory import make_series
from tests.io.dicom_scans import series_of
from tests.masks.mask_world import nifti, rotation, same_place

SHAPE = (16, 24, 12)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FEET_FIRST = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
TURNED = tuple((rotation(17, 0) @ rotation(-31, 2))[:, :2].T.ravel().tolist())


def inside() -> NDArray[np.bool_]:
    """Two parts [i, j, k] without symmetry; nothing in most slices."""
    values = np.zeros(SHAPE, dtype=np.bool_)
    values[3:9, 5, 2] = values[4, 5:11, 3] = values[10, 20, 7] = True
    return values


def write(
    folder: Path, masks: dict[str, NDArray[np.bool_]], orientation: tuple[float, ...] = AXIAL,
    kind: str = "BINARY", value: float = 1.0,
) -> tuple[Path, NDArray[np.float64]]:  # fmt: skip
    """A series and a SEG on its grid; the file, and the series' affine as hirescam reads it."""
    files = make_series(
        folder / "ct", np.random.default_rng(1).integers(-900, 900, SHAPE), orientation=orientation
    )
    affine = series_of(folder / "ct")
    datasets = [pydicom.dcmread(path) for path in files]
    for dataset in datasets:
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "", "", "", ""
        dataset.PatientBirthDate, dataset.PatientSex, dataset.ReferringPhysicianName = "", "", ""
    pixels = np.stack([np.moveaxis(mask, (2, 1, 0), (0, 1, 2)) for mask in masks.values()], axis=-1)
    descriptions = [
        SegmentDescription(
            number, name, codes.SCT.Tissue, codes.SCT.Tissue, SegmentAlgorithmTypeValues.MANUAL
        )
        for number, name in enumerate(masks, start=1)
    ]
    segmentation = Segmentation(
        datasets, pixels.astype(np.uint8) if kind != "FRACTIONAL" else pixels * np.float32(value),
        SegmentationTypeValues[kind], descriptions, hd.UID(), 1, hd.UID(), 1, "maker", "model", "1", "123",
    )  # fmt: skip
    path = folder / "seg.dcm"
    segmentation.save_as(path)
    return path, affine


@pytest.mark.parametrize("orientation", [AXIAL, FEET_FIRST, TURNED], ids=["axial", "feet-first", "oblique"])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_lie_where_they_were_drawn(
    tmp_path: Path, kind: str, orientation: tuple[float, ...]
) -> None:
    other = np.roll(inside(), 5, axis=2)
    path, affine = write(tmp_path, {"Nodule": inside(), "Mass": other}, orientation, kind)
    assert segment_names(path) == {1: "Nodule", 2: "Mass"}
    same_place(load_segments(path, "Nodule", (1,)), inside(), affine, 1e-3)
    same_place(load_segments(path, "Mass", (2,)), other, affine, 1e-3)
    same_place(load_segments(path, "both", (1, 2)), inside() | other, affine, 1e-3)


def test_a_segment_on_one_slice(tmp_path: Path) -> None:
    one = np.zeros(SHAPE, dtype=np.bool_)
    one[3:9, 5, 4] = True
    path, affine = write(tmp_path, {"Nodule": one}, TURNED)
    same_place(load_segments(path, "Nodule", (1,)), one, affine, 1e-3)


def test_the_order_of_frames_says_nothing(tmp_path: Path) -> None:
    path, affine = write(tmp_path, {"Nodule": inside()})
    dataset = pydicom.dcmread(path)
    frames = np.frombuffer(dataset.PixelData, np.uint8).reshape(int(dataset.NumberOfFrames), -1)
    order = [1, 2, 0]
    assert len(frames) == len(order)
    assert not np.array_equal(frames[0], frames[1])
    groups = [copy.deepcopy(dataset.PerFrameFunctionalGroupsSequence[n]) for n in order]
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(groups)
    dataset.PixelData = frames[order].tobytes()
    dataset.save_as(path)
    same_place(load_segments(path, "Nodule", (1,)), inside(), affine, 1e-3)


def test_a_case_finds_its_segments_beside_its_slices(tmp_path: Path) -> None:
    _, affine = write(tmp_path / "case", {"Lung nodule": inside()})
    found = find_masks(tmp_path, ["case"], None)
    assert found.problems == ()
    masks = found.of("case")
    assert masks is not None
    assert masks.names() == ("Lung nodule",)
    same_place(masks.load("Lung nodule"), inside(), affine, 1e-3)


@pytest.mark.parametrize("called", ["1.2.826.0.1.3680043.8.498.1", "seg.dicom", "SEG", "seg.1", "seg.DCM"])
def test_a_file_is_known_by_its_content(tmp_path: Path, called: str) -> None:
    path, affine = write(tmp_path / "case", {"Lung nodule": inside()})
    path.rename(path.with_name(called))
    (tmp_path / "case/note.txt").write_text("seg.dcm")
    found = find_masks(tmp_path, ["case"], None)
    masks = found.of("case")
    assert found.problems == ()
    assert masks is not None
    assert masks.names() == ("Lung nodule",)
    same_place(masks.load("Lung nodule"), inside(), affine, 1e-3)


def without(path: Path, to: Path, *keywords: str, **changed: float) -> Path:
    """A copy whose frames do not say some of how far they are apart, or say something else."""
    dataset = pydicom.dcmread(path)
    (measures,) = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    for keyword in keywords:
        delattr(measures, keyword)
    for keyword, value in changed.items():
        setattr(measures, keyword, value)
    to.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(to)
    return to


def drawn(*slices: int) -> NDArray[np.bool_]:
    values = np.zeros(SHAPE, dtype=np.bool_)
    for k in slices:
        values[3:9, 5 + k, k] = True
    return values


@pytest.mark.parametrize("orientation", [AXIAL, FEET_FIRST, TURNED], ids=["axial", "feet-first", "oblique"])
@pytest.mark.parametrize("slices", [(4,), (2, 3, 4), (2, 4, 6), (1, 2, 9), (2, 5, 9), (3, 6)])
def test_slices_are_as_far_apart_as_their_series_or_as_thick_as_they_say(
    tmp_path: Path, slices: tuple[int, ...], orientation: tuple[float, ...]
) -> None:
    values = drawn(*slices)
    path, affine = write(tmp_path, {"Nodule": values}, orientation)
    beside = without(path, tmp_path / "beside.dcm", "SpacingBetweenSlices", SliceThickness=0.5)
    away = without(path, tmp_path / "away/seg.dcm", "SpacingBetweenSlices")
    for one in (path, beside, away):
        mask = load_segments(one, "Nodule", (1,))
        same_place(mask, values, affine, 1e-3)
        assert mask.grid.spacing_mm[0] == pytest.approx(2.5, abs=1e-4)


def test_slices_of_unknown_thickness(tmp_path: Path) -> None:
    tags = ("SpacingBetweenSlices", "SliceThickness")
    path, affine = write(tmp_path, {"Nodule": drawn(4)})
    with pytest.raises(MaskError, match="one plane of unknown thickness") as caught:
        load_segments(without(path, tmp_path / "one/seg.dcm", *tags), "Nodule", (1,))
    assert caught.value.code == "mask-frames"
    path, affine = write(tmp_path, {"Nodule": drawn(2, 4, 8)})
    # Planes are as far apart as the nearest two, as those of contours.
    apart = load_segments(without(path, tmp_path / "more/seg.dcm", *tags), "Nodule", (1,))
    assert apart.grid.spacing_mm[0] == pytest.approx(5.0)
    same_place(apart, drawn(2, 4, 8), affine, 1e-3)
    # Thick slices with a gap between them that is no slice.
    gaps = without(path, tmp_path / "gaps/seg.dcm", tags[0], SliceThickness=4.0)
    assert load_segments(gaps, "Nodule", (1,)).grid.spacing_mm[0] == pytest.approx(5.0)
    thin = without(path, tmp_path / "thin/seg.dcm", tags[0], SliceThickness=1.0)
    assert load_segments(thin, "Nodule", (1,)).grid.spacing_mm[0] == pytest.approx(1.0)
    same_place(load_segments(thin, "Nodule", (1,)), drawn(2, 4, 8), affine, 1e-3)


def refusal(path: Path) -> MaskError:
    with pytest.raises(MaskError) as caught:
        load_segments(path, "Nodule", (1,))
    assert path.name in caught.value.message
    return caught.value


def test_probabilities_are_refused(tmp_path: Path) -> None:
    path, _ = write(tmp_path, {"Nodule": inside()}, kind="FRACTIONAL", value=0.4)
    assert refusal(path).code == "mask-values"


def test_damage_and_uneven_frames_are_refused(tmp_path: Path) -> None:
    path, _ = write(tmp_path, {"Nodule": inside()})
    dataset = pydicom.dcmread(path)
    plane = dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    plane.ImagePositionPatient[2] = float(plane.ImagePositionPatient[2]) + 0.9
    dataset.save_as(path)
    assert refusal(path).code == "mask-frames"
    del dataset.PixelData
    dataset.save_as(path)
    assert refusal(path).code in ("mask-frames", "mask-unreadable")
    del dataset.SegmentSequence
    dataset.save_as(path)
    with pytest.raises(MaskError, match="no number or label"):
        segment_names(path)


def test_segments_without_a_number_leave_open_which_masks_there_are(tmp_path: Path) -> None:
    path, _ = write(tmp_path / "case", {"Mass": inside()})
    dataset = pydicom.dcmread(path)
    del dataset.SegmentSequence[0].SegmentNumber
    dataset.save_as(path)
    nifti(tmp_path / "case/nodule.nii.gz", inside().astype(np.uint8))
    found = find_masks(tmp_path, ["case"], None)
    masks = found.of("case")
    assert [problem.code for problem in found.problems] == ["mask-unreadable"]
    assert masks is not None
    assert (masks.names(), masks.unread) == (("nodule",), True)


def test_without_highdicom_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = write(tmp_path, {"Nodule": inside()})
    monkeypatch.setitem(sys.modules, "highdicom.seg", None)
    error = refusal(path)
    assert error.code == "mask-highdicom"
    assert "hirescam-cli[dicom]" in str(error)
