"""Planes in the patient's space: where a world point lands, which value it has, in any orientation."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import map_coordinates

from hirescam_cli.geometry import Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import resample_linear
from hirescam_cli.pictures.planes import PLANES, Box, bounding_box, covered, frame, sample, sample_scan
from hirescam_cli.pictures.scene import make_scene
from tests.views import make_case

ALL_CODES = [
    "".join(order)
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for order in itertools.product(*axes)
]
BOX = Box((-100.0, -60.0, -400.0), (100.0, 60.0, -100.0))


def test_there_are_48_orientations() -> None:
    assert len(set(ALL_CODES)) == 48


@pytest.mark.parametrize(
    ("name", "shape", "point", "pixel"),
    [
        # 2 mm pixels: the first centre lies 1 mm inside the box.
        ("axial", (60, 100), (99.0, 59.0, 0.0), (0, 0)),
        ("axial", (60, 100), (-99.0, -59.0, 0.0), (59, 99)),
        ("coronal", (150, 100), (99.0, 0.0, -101.0), (0, 0)),
        ("coronal", (150, 100), (-99.0, 0.0, -399.0), (149, 99)),
        ("sagittal", (150, 60), (0.0, 59.0, -101.0), (0, 0)),
        ("sagittal", (150, 60), (0.0, -59.0, -399.0), (149, 59)),
    ],
)
def test_pixels_lie_in_radiological_convention(name, shape, point, pixel) -> None:
    pixels = frame(name, BOX, (0.0, 0.0, -250.0), 2.0)
    assert pixels.shape == shape
    assert_allclose(pixels.pixel_of(point), pixel, atol=1e-9)
    through = {"axial": -250.0, "coronal": 0.0, "sagittal": 0.0}
    assert pixels.position_mm == through[name]


@pytest.mark.parametrize("name", PLANES)
def test_sides_are_named_after_where_the_pixels_run(name) -> None:
    pixels = frame(name, BOX, (0.0, 0.0, -250.0), 2.0)
    side = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "H": (2, 1), "F": (2, -1)}
    left, right, top, bottom = (side[letter] for letter in pixels.letters)
    for (axis, sign), start, stop in ((right, (0, 0), (0, 1)), (bottom, (0, 0), (1, 0))):
        moved = affines.apply(pixels.affine_ras, [*stop, 0]) - affines.apply(pixels.affine_ras, [*start, 0])
        assert moved[axis] == sign * 2.0
    assert left == (right[0], -right[1])
    assert top == (bottom[0], -bottom[1])


@pytest.mark.parametrize("degrees", [0.0, 12.0])
@pytest.mark.parametrize("name", PLANES)
def test_the_patients_left_is_at_the_image_right(name, degrees) -> None:
    known = make_case(degrees=degrees)
    volume = known.view.volume
    pixels = frame(name, bounding_box(volume.grid), tuple(known.marker_mm), 1.0)
    hu = sample(volume.array_ijk, volume.affine_ras, pixels)
    row, column = (round(n) for n in pixels.pixel_of(known.marker_mm))
    assert hu[row, column] > 900
    if name != "sagittal":
        assert column > 0.8 * pixels.shape[1]


@pytest.mark.parametrize("name", PLANES)
def test_a_ball_is_round_and_has_its_size_in_mm(name) -> None:
    known = make_case(spacing_mm=(1.0, 1.5, 3.0), shape_lps=(160, 110, 80))
    volume = known.view.volume
    pixels = frame(name, bounding_box(volume.grid), tuple(known.lesion_mm), 0.5)
    hu = sample(volume.array_ijk, volume.affine_ras, pixels)
    row, column = pixels.pixel_of(known.lesion_mm)
    rows, columns = np.indices(pixels.shape)
    near = np.hypot(rows - row, columns - column) * 0.5 < 16.0
    ball = near & (hu > -395)
    assert_allclose(ball.sum() * 0.25, np.pi * 12.0**2, rtol=0.1)
    assert abs(np.ptp(rows[ball]) - np.ptp(columns[ball])) * 0.5 <= 3.0


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("codes", ["LPS", "SAR", "ILA"])
def test_a_plane_along_the_axes_equals_the_general_resampling(name, codes) -> None:
    volume = make_case(codes, shape_lps=(20, 15, 12)).view.volume
    box = bounding_box(volume.grid)
    wide = Box(tuple(v - 9 for v in box.low), tuple(v + 9 for v in box.high))
    pixels = frame(name, wide, (13.3, -14.1, -297.7), 1.3)
    got = sample(volume.array_ijk, volume.affine_ras, pixels)
    wanted = resample_linear(volume.array_ijk, volume.affine_ras, pixels.grid)[:, :, 0]
    assert_allclose(got, wanted, atol=1e-3)
    assert got[0, 0] == 0.0
    assert wanted.min() < -900


@pytest.mark.parametrize("smooth", [True, False])
def test_an_oblique_plane_equals_an_independent_interpolation(smooth) -> None:
    volume = make_case(degrees=17.0).view.volume
    pixels = frame("axial", bounding_box(volume.grid), (5.0, -20.0, -297.0), 1.7)
    got = sample(volume.array_ijk, volume.affine_ras, pixels, smooth=smooth)
    rows, columns = np.indices(pixels.shape)
    world = affines.apply(pixels.affine_ras, np.stack([rows, columns, 0 * rows], axis=-1))
    index = affines.apply(np.linalg.inv(volume.affine_ras), world)
    wanted = map_coordinates(
        volume.array_ijk.astype(float), np.moveaxis(index, -1, 0), order=1 if smooth else 0, mode="nearest"
    )
    box = ((index > -0.5) & (index < np.array(volume.array_ijk.shape) - 0.5)).all(axis=-1)
    assert 0.6 < box.mean() < 0.99
    assert_allclose(got[box], wanted[box], atol=0.01)
    assert (got[~box] == 0).all()
    assert (covered(volume.array_ijk.shape, volume.affine_ras, pixels) == box).all()


def test_true_cells_show_each_cells_own_value_up_to_its_edge() -> None:
    cells = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    # Cell (s, y, x): 10 mm wide, x to the left and y to the back from (35, 25).
    affine = affines.from_parts([[0, 0, -10], [0, -10, 0], [-10, 0, 0]], [35.0, 25.0, 0.0])
    pixels = frame("axial", Box((0.0, 0.0, -5.0), (40.0, 30.0, 5.0)), (0.0, 0.0, 1.0), 2.5)
    got = sample(cells, affine, pixels, smooth=False)
    assert (got == np.repeat(np.repeat(cells[0], 4, axis=0), 4, axis=1)).all()
    soft = sample(cells, affine, pixels)
    # Pixel centres 3.75 mm and 6.25 mm from the first cell's outer face; the cell's centre is at 5 mm.
    assert_allclose(soft[0, :4], [0.0, 0.0, 0.125, 0.375], atol=1e-6)


@pytest.mark.parametrize("codes", ALL_CODES)
def test_all_48_orientations_of_a_scan_give_the_same_planes(codes) -> None:
    reference = make_scene(make_case(shape_lps=(60, 40, 30)).view, "hirescam", "nodule", signed=True)
    scene = make_scene(make_case(codes, shape_lps=(60, 40, 30)).view, "hirescam", "nodule", signed=True)
    assert scene.view.volume.orientation == codes
    window = scene.view.window_hu
    for wanted, got in zip(reference.planes(1.0), scene.planes(1.0), strict=True):
        assert_allclose(got.hu, wanted.hu, atol=0.01)
        assert (got.seen == wanted.seen).all()
        assert (got.inside == wanted.inside).all()
        colours, expected = (p.rgb(window, reference.scale).astype(int) for p in (got, wanted))
        assert np.abs(colours - expected).max() <= 1


@pytest.mark.real
def test_real_files_in_all_48_orientations_give_the_same_planes(real_data: Path) -> None:
    files = sorted((real_data / "nifti_orientations48").glob("*.nii.gz"))
    assert len(files) == 48
    images = {}
    for file in files:
        image = nib.load(file)
        array, affine = np.asanyarray(image.dataobj), image.affine.astype(np.float64)
        box = bounding_box(Grid(array.shape, affine))
        middle = tuple((low + high) / 2 for low, high in zip(box.low, box.high, strict=True))
        images[file.name] = [sample(array, affine, frame(name, box, middle, 2.0)) for name in PLANES]
    reference = images["RAS.nii.gz"]
    assert max(plane.std() for plane in reference) > 1
    for name, planes in images.items():
        for got, wanted in zip(planes, reference, strict=True):
            assert_allclose(got, wanted, atol=1e-2 * wanted.max(), err_msg=name)


@pytest.mark.parametrize("shift_mm", [0.0, 0.35])
@pytest.mark.parametrize("degrees", [0.0, 9.0])
def test_planes_of_all_directions_are_equally_sharp(shift_mm: float, degrees: float) -> None:
    """White noise of 0.7 mm voxels in pixels of 1.4 mm: the same spread in all planes, wherever they cut."""
    array = np.random.default_rng(1).normal(0, 100, (80, 80, 80)).astype(np.float32)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    affine = affines.from_parts(turn @ np.diag([-0.7, -0.7, 0.7]), [0.0, 0.0, 0.0])
    box = bounding_box(Grid(array.shape, affine))
    middle = affines.apply(affine, (39.0, 39.0, 39.0)) + shift_mm
    spreads = []
    for name in PLANES:
        values = sample_scan(array, affine, frame(name, box, middle, 1.4))
        rows, columns = values.shape
        inner = values[rows // 4 : -rows // 4, columns // 4 : -columns // 4]
        spreads.append(float(inner.std()))
    assert max(spreads) / min(spreads) < (1.12 if degrees == 0 else 1.25), spreads
    assert max(spreads) < 50


def test_a_pixel_coarser_than_voxels_is_their_mean() -> None:
    """By hand: 4 mm pixels of 1 x 2 x 4 mm voxels hold 4 x 2 x 1 of them."""
    array = np.random.default_rng(2).integers(-1000, 1000, (16, 8, 6)).astype(np.int16)
    affine = affines.from_parts(np.diag([-1.0, -2.0, 4.0]), [0.0, 0.0, 0.0])
    box = bounding_box(Grid(array.shape, affine))
    through = affines.apply(affine, (0.0, 0.0, 2.0))
    values = sample_scan(array, affine, frame("axial", box, through, 4.0))
    means = array[:, :, 2].reshape(4, 4, 4, 2).mean(axis=(1, 3)).T
    np.testing.assert_allclose(values, means, atol=1e-3)


def test_a_pixel_finer_than_voxels_is_linear_between_them() -> None:
    known = make_case(spacing_mm=(2.0, 2.5, 4.0))
    volume = known.view.volume
    for name in PLANES:
        pixels = frame(name, bounding_box(volume.grid), known.lesion_mm, 1.1)
        wanted = sample(volume.array_ijk, volume.affine_ras, pixels)
        np.testing.assert_allclose(
            sample_scan(volume.array_ijk, volume.affine_ras, pixels), wanted, atol=1e-2
        )
