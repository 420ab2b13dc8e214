"""Steps against the packages whose rules they follow: MONAI, TorchIO, OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torchio
from monai.data import MetaTensor
from monai.transforms import CenterSpatialCrop, Spacing, SpatialPad
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry.resample import area_matrix
from hirescam_cli.prepare.image import Image, Place
from hirescam_cli.prepare.steps.pad_crop import PadAndCrop
from hirescam_cli.prepare.steps.resample import Resample
from hirescam_cli.prepare.steps.resize import Resize
from hirescam_cli.prepare.steps.window import Window
from tests.geometry.worlds import affine_of, rotated

SHAPES = [(23, 18, 15), (16, 21, 9), (30, 11, 40)]
SPACINGS = [(0.8, 1.2, 2.5), (2.0, 1.4, 1.0), (1.5007, 0.7, 3.0)]
WANTED = (1.5, 1.5, 3.0)


def scan(shape: tuple[int, ...], affine: Affine, seed: int = 0) -> Image:
    values = np.random.default_rng(seed).normal(0, 300, shape).astype(np.float32)
    i, j, k = shape
    return Image(values, Place.whole(Grid((i, j, k), affine)))


def oblique(spacing: Sequence[float]) -> Affine:
    return rotated(affine_of("RAS", tuple(spacing), (-40.0, 12.0, 7.0)), (1, 2, 3), 9.0)


def same(found: Image, values: NDArray[np.float32], affine: Affine, atol: float = 2e-3) -> None:
    assert found.array.shape == values.shape
    np.testing.assert_allclose(found.array, values, atol=atol)
    np.testing.assert_allclose(found.affine_ras, affine, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("turned", [False, True])
def test_resampling_as_monai(shape: tuple[int, ...], spacing: tuple[float, ...], turned: bool) -> None:
    affine = oblique(spacing) if turned else affine_of("RAS", spacing, (-40.0, 12.0, 7.0))
    image = scan(shape, affine)
    theirs = Spacing(pixdim=WANTED, mode="bilinear")(
        MetaTensor(torch.from_numpy(image.array)[None], affine=torch.from_numpy(affine))
    )
    found = Resample(WANTED, "linear", "monai").apply(image)
    same(found, theirs[0].numpy(), theirs.affine.numpy())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("turned", [False, True])
def test_resampling_as_torchio(shape: tuple[int, ...], spacing: tuple[float, ...], turned: bool) -> None:
    affine = oblique(spacing) if turned else affine_of("RAS", spacing, (-40.0, 12.0, 7.0))
    image = scan(shape, affine)
    theirs = torchio.Resample(WANTED)(torchio.ScalarImage(tensor=image.array[None], affine=affine))
    found = Resample(WANTED, "linear", "torchio").apply(image)
    same(found, theirs.data[0].numpy(), theirs.affine)


def before_2025(image: Image, spacing: Sequence[float]) -> NDArray[np.float32]:
    """TorchIO's rule of 2022 (the version that Sybil asks for), told to ITK: the first face stays, sizes round up."""
    source = sitk.GetImageFromArray(np.ascontiguousarray(image.array.transpose(2, 1, 0)))
    old = image.place.grid.spacing_mm
    source.SetSpacing(old)
    size = [ceil(n * a / b) for n, a, b in zip(image.array.shape, old, spacing, strict=True)]
    origin = [(b - a) / 2 for a, b in zip(old, spacing, strict=True)]
    made = sitk.Resample(
        source, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, np.eye(3).ravel().tolist(), 0.0
    )
    return np.asarray(sitk.GetArrayFromImage(made)).transpose(2, 1, 0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_resampling_as_torchio_before_2025(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    image = scan(shape, affine_of("RAS", spacing))
    found = Resample(WANTED, "linear", "torchio-0.18").apply(image)
    values = before_2025(image, WANTED)
    assert found.array.shape == values.shape
    np.testing.assert_allclose(found.array, values, atol=2e-3)
    # The first outer face stays where it was.
    face = image.affine_ras @ [-0.5, -0.5, -0.5, 1.0]
    np.testing.assert_allclose(found.affine_ras @ [-0.5, -0.5, -0.5, 1.0], face, atol=1e-9)


def test_beyond_the_last_face_there_is_padding() -> None:
    """9 voxels of 1 mm become ceil(9 / 4) = 3 of 4 mm, centred at 1.5, 5.5 and, beyond the face, 9.5."""
    image = Image(np.full((9, 8, 8), 7.0, dtype=np.float32), Place.whole(Grid((9, 8, 8), np.eye(4))))
    found = Resample((4.0, 4.0, 4.0), "linear", "torchio-0.18").apply(image)
    assert found.array[:, 0, 0].tolist() == [7.0, 7.0, 0.0]
    assert found.place.edges == ((-0.5, 1.75), (-0.5, 1.5), (-0.5, 1.5))
    np.testing.assert_allclose(found.affine_ras[:3, 3], 1.5)


def test_the_spacing_of_the_header_counts_and_the_map_lies_where_voxels_are() -> None:
    """Half as many voxels, each twice as large, resampled as if they were small: a marked voxel stays where it lies."""
    values = np.zeros((20, 40, 40), dtype=np.float32)
    values[7:9, 20:24, 10:14] = 1000.0
    place = Place.whole(Grid((20, 40, 40), affine_of("SPL", (2.0, 0.7, 0.7))), (5.0, 0.7, 0.7))
    step = Resample((2.5, 0.703125, 0.703125), "linear", "torchio-0.18", "header")
    found = step.apply(Resize((0, 20, 20)).apply(Image(values, place)))
    # By the header twice as many slices, though they lie 2 mm apart and not 5: so one is 1 mm high.
    assert found.array.shape == (40, 20, 20)
    np.testing.assert_allclose(found.place.grid.spacing_mm, (1.0, 1.4 * 0.703125 / 0.7, 1.4 * 0.703125 / 0.7))
    index = np.argwhere(found.array > 0)
    weights = found.array[tuple(index.T)]
    centroid = (index * weights[:, None]).sum(axis=0) / weights.sum()
    before = place.grid.affine_ras @ [7.5, 21.5, 11.5, 1.0]
    np.testing.assert_allclose((found.affine_ras @ [*centroid, 1.0])[:3], before[:3], atol=0.15)


@pytest.mark.parametrize("size", range(3, 12))
@pytest.mark.parametrize("target", [6, 7])
@pytest.mark.parametrize("convention", ["monai", "torchio"])
def test_padding_and_cropping_about_the_centre(size: int, target: int, convention: str) -> None:
    values = np.arange(1, size + 1, dtype=np.float32).reshape(size, 1, 1).repeat(3, 1).repeat(3, 2)
    image = Image(values, Place.whole(Grid((size, 3, 3), np.eye(4))))
    found = PadAndCrop((target, 3, 3), value=0.0, convention=convention).apply(image)  # type: ignore[arg-type]
    tensor = torch.from_numpy(values)[None]
    if convention == "monai":
        theirs = CenterSpatialCrop((target, 3, 3))(SpatialPad((target, 3, 3))(tensor))
    else:
        theirs = torchio.CropOrPad((target, 3, 3), padding_mode=0)(torchio.ScalarImage(tensor=tensor)).data
    np.testing.assert_array_equal(found.array, theirs[0])
    kept = found.array[:, 0, 0]
    there = np.flatnonzero(kept)
    np.testing.assert_array_equal(found.affine_ras[0, 3] + there, kept[there] - 1)


@pytest.mark.parametrize("shape", [(64, 64), (50, 72), (31, 45)])
@pytest.mark.parametrize("wanted", [(32, 32), (40, 40), (64, 80)])
def test_resizing_as_opencv(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    values = np.random.default_rng(1).integers(0, 256, (3, *shape)).astype(np.float32)
    image = Image(values, Place.whole(Grid((3, *shape), np.eye(4))))
    found = Resize((0, *wanted)).apply(image)
    theirs = [
        cv2.resize(plane.astype(np.float64), wanted[::-1], interpolation=cv2.INTER_LINEAR) for plane in values
    ]
    np.testing.assert_allclose(found.array, np.stack(theirs), atol=2e-3)


def dicom_window(hu: NDArray[np.float64], centre: float, width: float) -> NDArray[np.float64]:
    """DICOM's linear window (PS3.3 C.11.2.1.2.1) to 0 .. 65535, written out."""
    c, w = centre - 0.5, width - 1.0
    found = np.empty_like(hu)
    for n, x in enumerate(hu):
        if x <= c - w / 2:
            found[n] = 0
        elif x > c + w / 2:
            found[n] = 65535
        else:
            found[n] = ((x - c) / w + 0.5) * 65535
    return found


def test_a_dicom_window_to_8_bits_by_way_of_16() -> None:
    hu = np.arange(-3100, 3100).astype(np.float64)
    expected = dicom_window(hu, -600, 1500) // 256
    step = Window(((-1350.0, 149.0),), (0.0, 255.0), 256, "16-bit")
    array = hu.astype(np.float32).reshape(-1, 1, 1)
    found = step.apply(Image(array, Place.whole(Grid((hu.size, 1, 1), np.eye(4))))).array.ravel()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(step.on_device(torch.from_numpy(array.copy())).ravel(), expected, atol=1e-4)
    nearest = Window(((-1350.0, 149.0),), (0.0, 255.0), 256).on_array(array.copy()).ravel()
    assert np.abs(nearest - expected).max() > 0.9


def test_means_over_areas_by_hand() -> None:
    assert area_matrix(4, [0.5, 2.5], 2.0).tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
    np.testing.assert_allclose(area_matrix(3, [0.25, 1.75], 1.5), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])
    # A window that reaches over the face is cut off there; one beyond it is the outer cell.
    np.testing.assert_allclose(area_matrix(3, [-0.5, 5.0], 1.0), [[1, 0, 0], [0, 0, 1]])
    values = np.random.default_rng(4).normal(size=(12, 6, 8)).astype(np.float32)
    image = Image(values, Place.whole(Grid((12, 6, 8), np.eye(4))))
    found = Resample((3.0, 2.0, 4.0), "area", "torchio").apply(image).array
    np.testing.assert_allclose(found, values.reshape(4, 3, 3, 2, 2, 4).mean(axis=(1, 3, 5)), atol=1e-6)


@pytest.mark.parametrize("convention", ["torchio", "torchio-0.18"])
@pytest.mark.parametrize("interpolation", ["linear", "bspline", "nearest", "area"])
def test_a_long_axis_has_nothing_left_over_from_memory(convention: str, interpolation: str) -> None:
    """Rows beyond the scan are 0, in however many pieces the axis is worked through."""
    image = Image(
        np.ones((11, 4, 300), dtype=np.float32),
        Place.whole(Grid((11, 4, 300), np.eye(4)), (1000.0, 1.0, 1.0)),
    )
    step = Resample((29.0, 1.0, 2.9), interpolation, convention, "header")
    found = step.apply(image)
    inside = [found.place.edges[a] for a in range(3)]
    index = np.stack(np.meshgrid(*(np.arange(n) for n in found.array.shape), indexing="ij"))
    there = np.all([(index[a] <= inside[a][1] + 1e-9) for a in range(3)], axis=0)
    np.testing.assert_allclose(found.array, there.astype(np.float32), atol=1e-5)
