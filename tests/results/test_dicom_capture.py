"""Secondary Captures: each slice at its place, with its map, its caption, and nothing of the patient in its pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.geometry import affine as affines
from hirescam_cli.pictures.capture import NARROWEST, Capture
from hirescam_cli.pictures.colour import compose
from hirescam_cli.pictures.planes import Frame, covered, sample
from hirescam_cli.results.format import Style
from tests.io.dicom_factory import AXIAL, make_series
from tests.results.dicom_world import IDENTITY, LPS, read_only, view_of, write_all
from tests.views import changed

ORIENTATIONS = {
    "axial": AXIAL,
    "rows to the front": (1, 0, 0, 0, -1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (0.96, 0.28, 0, -0.28 * 0.8, 0.96 * 0.8, 0.6),
}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("name", list(ORIENTATIONS))
def test_the_pixels_are_those_of_every_other_picture(
    tmp_path: Path, name: str, signed: bool, smooth: bool
) -> None:
    make_series(tmp_path / "ct", orientation=ORIENTATIONS[name], **IDENTITY)
    view = view_of(read_only(tmp_path / "ct"))
    partly = np.array(view.case.seen.affine) @ affines.scaling((0.5, 1, 0.6), (0, 0, 0))
    rows = [tuple(map(float, row)) for row in partly]
    seen = type(view.case.seen)(shape=view.case.seen.shape, affine=tuple(rows), window_hu=(-1000.0, 400.0))
    view = changed(view, seen=seen)
    capture = Capture(view, "hirescam", "nodule", placement="stretch", signed=signed, smooth=smooth)
    coloured = 0
    for k in (2, 9):
        plane = Frame("axial", capture.shape, 1.0, capture.affine_ras(k))
        zoomed = view.volume.array_ijk[:, :, k].T.repeat(capture.zoom, axis=0).repeat(capture.zoom, axis=1)
        expected = compose(
            zoomed.astype(np.float32),
            sample(capture.scene.cam, capture.scene.affine_ras, plane, smooth=smooth),
            np.ones(capture.shape, dtype=bool),
            covered(view.seen.shape, view.seen.affine_ras, plane),
            view.window_hu,
            capture.scene.scale,
        )
        found = capture.rgb(k, 1)[: capture.shape[0]]
        different = np.abs(found.astype(int) - expected).max(axis=-1) > 4
        # Only the four letters of the patient's sides.
        assert different.mean() < 0.004
        different[:30], different[-30:], different[:, :30], different[:, -30:] = False, False, False, False
        assert not different.any()
        coloured += int((found != found[..., :1]).any())
    assert coloured


def test_a_frame_lies_where_its_slice_lies(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", orientation=ORIENTATIONS["oblique"], **IDENTITY)
    written = write_all(view_of(read_only(tmp_path / "ct")), tmp_path / "out", ["dicom-sc"])
    volume = written.view.volume
    assert volume.dicom is not None
    places = {i.sop_uid: np.array(i.planes[0].position_lps) for i in volume.dicom.instances}
    for number in range(1, 13):
        ds = written.read(f"hirescam.label_0.sc/{number:04d}.dcm")
        assert ds.InstanceNumber == number
        zoom = ds.Columns // volume.array_ijk.shape[0]
        first = np.array(ds.ImagePositionPatient, dtype=float)
        orientation = np.array(ds.ImageOrientationPatient, dtype=float)
        rows_mm, columns_mm = (float(v) for v in ds.PixelSpacing)
        # The middle of the slice's first pixel, which is `zoom` pixels here.
        middle = first + (zoom - 1) / 2 * (orientation[:3] * columns_mm + orientation[3:] * rows_mm)
        (source,) = ds.SourceImageSequence
        np.testing.assert_allclose(middle, places[source.ReferencedSOPInstanceUID], atol=1e-6)
        np.testing.assert_allclose(orientation, ORIENTATIONS["oblique"], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "first", "last", "sides"),
    [
        ("axial", 2, "head", ["L", "P"]),
        ("coronal", 1, "front", ["L", "F"]),
        ("rows to the front", 2, "head", ["L", "A"]),
    ],
)
def test_they_are_numbered_from_the_head_or_the_front(
    tmp_path: Path, name: str, first: int, last: str, sides: list[str]
) -> None:
    make_series(tmp_path / "ct", orientation=ORIENTATIONS[name], **IDENTITY)
    written = write_all(view_of(read_only(tmp_path / "ct")), tmp_path / "out", ["dicom-sc"])
    objects = [written.read(f"hirescam.label_0.sc/{n:04d}.dcm") for n in range(1, 13)]
    at = [(LPS[:3, :3] @ np.array(ds.ImagePositionPatient, dtype=float))[first] for ds in objects]
    assert at == sorted(at, reverse=True), last
    assert list(written.read("hirescam.label_0.sc/0001.dcm").PatientOrientation) == sides


def test_they_are_flagged_as_burned_in_and_for_research(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", **IDENTITY)
    ds = write_all(view_of(read_only(tmp_path / "ct")), tmp_path / "out", ["dicom-sc"]).objects()[0]
    assert ds.BurnedInAnnotation == "YES"
    assert ds.ContentQualification == "RESEARCH"
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (ds.Modality, ds.PhotometricInterpretation) == ("OT", "RGB")
    assert ds.Columns >= NARROWEST
    assert ds.pixel_array.shape == (ds.Rows, ds.Columns, 3)


def capture_of(folder: Path, **tags: str) -> NDArray[np.uint8]:
    make_series(folder / "ct", **{**IDENTITY, **tags})
    written = write_all(view_of(read_only(folder / "ct")), folder / "out", ["dicom-sc"])
    pixels: NDArray[np.uint8] = written.read("hirescam.label_0.sc/0003.dcm").pixel_array
    return pixels


def test_nothing_of_the_patient_is_in_the_pixels(tmp_path: Path) -> None:
    one = capture_of(tmp_path / "one")
    other = capture_of(
        tmp_path / "other", PatientName="Other^Name", PatientID="other", StudyDate="19990101", AccessionNumber="other",
        PatientBirthDate="19990101", PatientSex="M", StudyID="other", StudyDescription="other",
    )  # fmt: skip
    np.testing.assert_array_equal(one, other)


def test_nothing_of_the_cases_name_is_in_the_pixels(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", **IDENTITY)
    view = view_of(read_only(tmp_path / "ct"))
    how = {"placement": "stretch", "signed": False, "smooth": True}
    one, other = (
        Capture(changed(view, case=name), "hirescam", "nodule", **how).rgb(3, 3)  # type: ignore[arg-type]
        for name in ("Doe^Jane", "other")
    )
    np.testing.assert_array_equal(one, other)


def test_the_demonstration_warning_is_burned_in_where_due(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", **IDENTITY)
    view = view_of(read_only(tmp_path / "ct"))
    red = (255, 112, 96)
    pictures = {}
    for demonstration in (True, False):
        model = {f: getattr(view.case.model, f) for f in view.case.model.__struct_fields__}
        made = changed(view, model=type(view.case.model)(**{**model, "demonstration": demonstration}))
        pictures[demonstration] = Capture(
            made, "hirescam", "nodule", placement="stretch", signed=False, smooth=True
        ).rgb(3, 3)
    assert (pictures[True] == red).all(axis=-1).sum() > 200
    assert not (pictures[False] == red).all(axis=-1).any()
    yellow = (255, 214, 64)
    for picture in pictures.values():
        assert (picture == yellow).all(axis=-1).sum() > 200


def test_a_map_without_evidence_shows_the_scan_alone(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", **IDENTITY)
    view = view_of(read_only(tmp_path / "ct"))
    flat = replace(view, native={"hirescam": -np.abs(view.native["hirescam"])})
    written = write_all(flat, tmp_path / "out", ["dicom-sc"], Style())
    pixels = written.objects()[0].pixel_array[:480]
    assert (pixels == pixels[..., :1]).all()
