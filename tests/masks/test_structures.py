"""RTSTRUCT, written with pydicom: contours become the voxels whose centres they enclose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from hirescam_cli.errors import MaskError
from hirescam_cli.masks.contours import even_odd
from hirescam_cli.masks.structures import load_structures, structure_names
from tests.io.dicom_factory import base_dataset, make_series, save, uid
from tests.io.dicom_scans import series_of
from tests.masks.mask_world import rotation, same_place

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SHAPE = (20, 24, 12)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
TURNED = tuple((rotation(17, 0) @ rotation(-31, 2))[:, :2].T.ravel().tolist())
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
OUTER = [(2.5, 3.5), (12.5, 3.5), (12.5, 17.5), (2.5, 17.5)]
HOLE = [(5.5, 6.5), (9.5, 6.5), (9.5, 11.5), (5.5, 11.5)]
ISLAND = [(6.5, 7.5), (8.5, 7.5), (8.5, 9.5), (6.5, 9.5)]


def box(polygon: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """The pixels [i, j] in a rectangle whose edges run between pixels."""
    inside = np.zeros(SHAPE[:2], dtype=np.bool_)
    (i0, j0), (i1, j1) = polygon[0], polygon[2]
    inside[int(i0 + 0.5) : int(i1 + 0.5), int(j0 + 0.5) : int(j1 + 0.5)] = True
    return inside


def write(
    path: Path, regions: dict[str, list[NDArray[np.float64]]], kind: str = "CLOSED_PLANAR",
    series: str | None = None, thickness: float | None = None,
) -> Path:  # fmt: skip
    """An RTSTRUCT of contours in RAS mm."""
    ds = base_dataset("RTSTRUCT", RTSTRUCT)
    ds.SOPInstanceUID, ds.SeriesInstanceUID = uid(path), uid("structures")
    ds.StructureSetROISequence, ds.ROIContourSequence = Items([]), Items([])
    for number, (name, contours) in enumerate(regions.items(), start=3):
        roi, region = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        region.ReferencedROINumber = number
        region.ContourSequence = Items([_contour(points, kind, thickness) for points in contours])
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(region)
    if series is not None:
        frame, study, referenced = Dataset(), Dataset(), Dataset()
        referenced.SeriesInstanceUID = series
        study.RTReferencedSeriesSequence = Items([referenced])
        frame.RTReferencedStudySequence = Items([study])
        ds.ReferencedFrameOfReferenceSequence = Items([frame])
    return save(ds, path)


def _contour(points: NDArray[np.float64], kind: str, thickness: float | None) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType = kind
    contour.NumberOfContourPoints = len(points)
    contour.ContourData = [f"{value:.8g}" for value in (points * [-1, -1, 1]).ravel()]
    if thickness is not None:
        contour.ContourSlabThickness = thickness
    return contour


def placed(
    polygon: Sequence[tuple[float, float]], k: float, affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A polygon of pixel indices on slice k, in RAS mm."""
    index = np.column_stack([np.asarray(polygon), np.full(len(polygon), k)])
    return index @ affine[:3, :3].T + affine[:3, 3]


@pytest.mark.parametrize("orientation", [AXIAL, TURNED], ids=["axial", "oblique"])
def test_holes_and_islands_on_the_series_beside_it(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    make_series(tmp_path / "ct", np.random.default_rng(0).integers(-900, 900, SHAPE), orientation=orientation)
    affine = series_of(tmp_path / "ct")
    contours = [placed(polygon, k, affine) for k in (2, 3) for polygon in (OUTER, HOLE, ISLAND)]
    path = write(
        tmp_path / "rs.dcm", {"GTV": contours, "empty": []}, series=uid("series", str(tmp_path / "ct"))
    )
    assert structure_names(path) == {3: "GTV", 4: "empty"}
    mask = load_structures(path, "GTV", (3,))
    expected = np.zeros(SHAPE, dtype=np.bool_)
    expected[:, :, 2:4] = (box(OUTER) ^ box(HOLE) ^ box(ISLAND))[..., None]
    assert expected.sum() == 2 * (10 * 14 - 4 * 5 + 2 * 2)
    assert mask.array_ijk.shape == SHAPE
    same_place(mask, expected, affine, 1e-3)
    with pytest.raises(MaskError, match="empty has no closed contour"):
        load_structures(path, "empty", (4,))


@pytest.mark.parametrize("orientation", [AXIAL, TURNED], ids=["axial", "oblique"])
def test_without_its_series_a_grid_is_made(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    make_series(
        tmp_path / "away/ct", np.zeros(SHAPE) + np.arange(12), (1.5, 1.25, 3.0), orientation=orientation
    )
    affine = series_of(tmp_path / "away/ct")
    contours = [placed(polygon, k, affine) for k in (2, 3, 6) for polygon in (OUTER, HOLE)]
    mask = load_structures(write(tmp_path / "rs.dcm", {"GTV": contours}), "GTV", (3,))
    assert mask.grid.spacing_mm == pytest.approx((1.0, 1.0, 3.0), abs=1e-5)
    area = (10 * 14 - 4 * 5) * 1.5 * 1.25
    volume = mask.array_ijk.sum() * 3.0
    assert volume == pytest.approx(3 * 3.0 * area, rel=0.03)
    voxels = np.argwhere(mask.array_ijk) @ mask.affine_ras[:3, :3].T + mask.affine_ras[:3, 3]
    index = (voxels - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    assert np.unique(np.round(index[:, 2], 3)).tolist() == [2.0, 3.0, 6.0]
    hole, outer = Outline(HOLE), Outline(OUTER)
    assert (
        outer.contains_points(index[:, :2], radius=1e-3).all()
        or outer.contains_points(index[:, :2], radius=-1e-3).all()
    )
    assert not hole.contains_points(index[:, :2], radius=-0.05).any()


def test_contours_given_twice_do_not_cancel_each_other(tmp_path: Path) -> None:
    affine = np.eye(4)
    contours = [placed(OUTER, k, affine) for k in (0, 0, 1)]
    mask = load_structures(write(tmp_path / "rs.dcm", {"GTV": contours}), "GTV", (3,))
    assert mask.array_ijk.sum() == 2 * 10 * 14


@pytest.mark.parametrize(
    "again",
    [
        lambda points: np.roll(points, 1, axis=0),
        lambda points: points[::-1],
        lambda points: np.vstack([points, points[:1]]),
        lambda points: np.vstack([points[2:], points[:3]])[::-1],
        lambda points: np.repeat(points, 2, axis=0),
        lambda points: points + 2e-6,
    ],
    ids=["other-start", "reversed", "closed", "closed-and-reversed", "points-twice", "rounded"],
)
def test_a_contour_is_the_same_wherever_it_begins_and_whichever_way_it_runs(
    tmp_path: Path, again: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    notch = np.asarray([(2.5, 3.5), (12.5, 3.5), (12.5, 17.5), (7.5, 17.5), (7.5, 10.5), (2.5, 10.5)])
    contours = [placed(notch, k, np.eye(4)) for k in (0, 1)]
    path = write(tmp_path / "rs.dcm", {"GTV": [*contours, *(again(points) for points in contours)]})
    assert load_structures(path, "GTV", (3,)).array_ijk.sum() == 2 * (10 * 7 + 5 * 7)


def test_contours_of_the_same_points_in_another_order_are_two(tmp_path: Path) -> None:
    """A keyhole begins at a point that it passes twice; a bow tie over the same corners is another contour."""
    keyhole = np.asarray([*OUTER, OUTER[0], *HOLE, HOLE[0]])
    once = [placed(keyhole, k, np.eye(4)) for k in (0, 1)]
    both = [*once, *(np.roll(points, 5, axis=0) for points in once)]
    for name, contours in (("one", once), ("two", both)):
        mask = load_structures(write(tmp_path / f"{name}.dcm", {"GTV": contours}), "GTV", (3,))
        assert mask.array_ijk.sum() == 2 * (10 * 14 - 4 * 5)
    bow = [placed([OUTER[n] for n in (0, 2, 1, 3)], k, np.eye(4)) for k in (0, 1)]
    boxes = [placed(OUTER, k, np.eye(4)) for k in (0, 1)]
    crossed = load_structures(write(tmp_path / "bow.dcm", {"GTV": [*boxes, *bow]}), "GTV", (3,))
    assert 0 < crossed.array_ijk.sum() < 2 * 10 * 14


def test_one_plane_needs_its_thickness(tmp_path: Path) -> None:
    contours = [placed(OUTER, 4, np.eye(4))]
    with pytest.raises(MaskError, match="one plane of unknown thickness"):
        load_structures(write(tmp_path / "rs.dcm", {"GTV": contours}), "GTV", (3,))
    mask = load_structures(write(tmp_path / "thick.dcm", {"GTV": contours}, thickness=2.5), "GTV", (3,))
    assert mask.array_ijk.sum() == 140
    assert mask.grid.spacing_mm == (1.0, 1.0, 2.5)


def test_what_is_not_a_stack_of_closed_planes_is_refused(tmp_path: Path) -> None:
    def code(name: str, contours: list[NDArray[np.float64]], kind: str = "CLOSED_PLANAR", **more: str) -> str:
        path = write(tmp_path / f"{name}.dcm", {"GTV": contours}, kind, **more)
        with pytest.raises(MaskError) as caught:
            load_structures(path, "GTV", (3,))
        assert f"{name}.dcm" in caught.value.message
        return caught.value.code

    flat = [placed(OUTER, k, np.eye(4)) for k in (0, 1)]
    assert code("open", flat, "OPEN_PLANAR") == "mask-contours"
    assert code("point", [flat[0][:1]], "POINT") == "mask-contours"
    assert code("none", []) == "mask-contours"
    tilted = flat[1] @ rotation(10, 0).T + [0, 0, 3]
    assert code("tilted", [flat[0], tilted]) == "mask-tilted"
    assert code("bent", [flat[0] + [[0, 0, 0.0], [0, 0, 1], [0, 0, 0], [0, 0, 1]]]) == "mask-tilted"
    assert code("uneven", [placed(OUTER, k, np.eye(4)) for k in (0, 1, 2.5)]) == "mask-tilted"
    make_series(tmp_path / "ct", np.zeros(SHAPE) + np.arange(12), orientation=AXIAL)
    affine = series_of(tmp_path / "ct")
    sagittal = np.column_stack([np.full(4, 5.0), np.asarray(HOLE)]) @ affine[:3, :3].T + affine[:3, 3]
    assert code("sagittal", [sagittal], series=uid("series", str(tmp_path / "ct"))) == "mask-tilted"
    beyond = [placed(OUTER, k, affine) for k in (3, 40)]
    assert code("beyond", beyond, series=uid("series", str(tmp_path / "ct"))) == "mask-contours"


def test_even_odd_agrees_with_matplotlib_on_random_polygons() -> None:
    rng = np.random.default_rng(4)
    centres = np.stack(np.meshgrid(np.arange(30), np.arange(25), indexing="ij"), axis=-1).reshape(-1, 2)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii = rng.uniform(3, 16, 12)
        polygons = [
            np.column_stack([14 + shift + radii * np.cos(angles), 12 + radii * np.sin(angles)])
            for shift in (0.0, 5.3)
        ]
        expected = np.zeros(len(centres), dtype=np.bool_)
        for polygon in polygons:
            expected ^= Outline(polygon).contains_points(centres)
        assert np.array_equal(even_odd(polygons, (30, 25)), expected.reshape(30, 25))


def test_polygons_that_share_an_edge_share_no_pixel() -> None:
    left = np.array([(1.0, 1.0), (4.0, 1.0), (4.0, 5.0), (1.0, 5.0)])
    right = left + np.array([3.0, 0.0])
    one, two = even_odd([left], (10, 8)), even_odd([right], (10, 8))
    assert one.sum() == two.sum() == 12
    assert not (one & two).any()
    assert np.array_equal(np.argwhere(one).min(axis=0), [1, 1])
