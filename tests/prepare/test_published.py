"""The preparations of Merlin and Sybil, voxel for voxel as their own code, and with everything where it really lies."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torchio
from monai.data import MetaTensor
from monai.transforms import CenterSpatialCrop, Orientation, ScaleIntensityRange, Spacing, SpatialPad
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.model.spec import load_spec
from hirescam_cli.prepare import ModelInput, prepare
from hirescam_cli.volume import Provenance, Volume
from tests.geometry.worlds import affine_of, rotated
from tests.io.loading import load

PRESETS = ("merlin", "merlin-five-year", "sybil", "ctnet-83")


def volume(hu: NDArray[np.int16], affine: Affine, slice_thickness_mm: float | None = None) -> Volume:
    return Volume(hu, affine, Provenance("nifti", "0" * 64), slice_thickness_mm)


def made_up(
    shape: tuple[int, int, int], codes: str, spacing: tuple[float, float, float], degrees: float
) -> Volume:
    hu = np.random.default_rng(8).integers(-1024, 1500, shape).astype(np.int16)
    affine = rotated(affine_of(codes, spacing, (30.0, -12.0, 7.0)), (1, 2, 3), degrees)
    return volume(hu, affine)


def prepared(scan: Volume, name: str) -> ModelInput:
    return prepare(scan, load_spec(name).preparation)


def by_monai(scan: Volume) -> tuple[NDArray[np.float32], Affine]:
    """Merlin's published list of MONAI's transforms."""
    values = torch.from_numpy(np.ascontiguousarray(scan.array_ijk, dtype=np.float32))[None]
    found = MetaTensor(values, affine=torch.from_numpy(scan.affine_ras))
    found = Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(found)
    found = Spacing(pixdim=(1.5, 1.5, 3.0), mode="bilinear")(found)
    found = ScaleIntensityRange(a_min=-1000, a_max=1000, b_min=0.0, b_max=1.0, clip=True)(found)
    found = CenterSpatialCrop(roi_size=(224, 224, 160))(SpatialPad(spatial_size=(224, 224, 160))(found))
    return found[0].numpy(), found.affine.numpy()


def check_merlin(scan: Volume) -> None:
    values, affine = by_monai(scan)
    found = prepared(scan, "merlin")
    assert found.array_ijk.shape == (224, 224, 160)
    np.testing.assert_allclose(found.array_ijk, values, atol=2e-5)
    np.testing.assert_allclose(found.affine_ras, affine, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "codes", "spacing", "degrees"),
    [
        ((60, 50, 30), "LPS", (1.7, 1.7, 5.0), 0.0),
        ((41, 64, 72), "SAL", (2.5, 0.9, 0.9), 0.0),
        ((45, 50, 33), "RPI", (6.1, 7.3, 4.0), 7.0),
        ((30, 400, 400), "IPL", (3.0, 1.5, 1.5), 0.0),
    ],
)
def test_merlin_as_monai_does_it(
    shape: tuple[int, int, int], codes: str, spacing: tuple[float, float, float], degrees: float
) -> None:
    check_merlin(made_up(shape, codes, spacing, degrees))


def window_of_dicom(hu: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre -600, width 1500, linear, to 16 bits and then to 8, as Sybil does before it resizes."""
    c, w = -600 - 0.5, 1500 - 1.0
    scaled = ((hu - c) / w + 0.5) * 65535.0
    scaled[hu <= c - w / 2] = 0
    scaled[hu > c + w / 2] = 65535
    return scaled // 256


def by_sybil(hu: NDArray[np.float64], row_mm: float, thickness_mm: float) -> NDArray[np.float32]:
    """Sybil's steps, with its packages and TorchIO's rule of then, of HU [slice from the feet, row, column]."""
    planes = [cv2.resize(window_of_dicom(plane), (256, 256), interpolation=cv2.INTER_LINEAR) for plane in hu]
    tensor = (torch.from_numpy(np.stack(planes)).float() - 128.1722) / 87.1849
    source = sitk.GetImageFromArray(tensor.numpy())
    old = [float(np.float32(mm)) for mm in (row_mm, row_mm, thickness_mm)]
    new = (0.703125, 0.703125, 2.5)
    source.SetSpacing(old)
    size = [ceil(n * a / b) for n, a, b in zip(source.GetSize(), old, new, strict=True)]
    origin = [(b - a) / 2 for a, b in zip(old, new, strict=True)]
    made = sitk.Resample(
        source, size, sitk.Transform(), sitk.sitkLinear, origin, new, np.eye(3).ravel().tolist(), 0.0
    )
    values = torch.from_numpy(sitk.GetArrayFromImage(made).transpose(1, 2, 0)[None].copy())
    cut = torchio.CropOrPad((256, 256, 200), padding_mode=0)(torchio.ScalarImage(tensor=values))
    return cut.data[0].numpy().transpose(2, 0, 1)


def check_sybil(scan: Volume) -> None:
    """Of a scan whose rows run to the back and columns to the left, as in nearly every DICOM file."""
    order = prepare(scan, load_spec("sybil").preparation)
    straight = np.asarray(scan.array_ijk, dtype=np.float64)
    assert scan.orientation == "LPS"
    thickness = scan.slice_thickness_mm or scan.spacing_mm[2]
    expected = by_sybil(straight.transpose(2, 1, 0).copy(), scan.spacing_mm[1], thickness)
    assert order.array_ijk.shape == expected.shape == (200, 256, 256)
    # Where a value lies on the border of two of 256 levels, float32 and float64 may part.
    differ = np.abs(order.array_ijk - expected)
    assert (differ > 2e-4).mean() < 1e-5
    assert differ.max() < 0.02


@pytest.mark.parametrize(
    ("shape", "spacing", "thickness"),
    [
        ((512, 512, 24), (0.703125, 0.703125, 1.25), 2.5),
        ((300, 280, 31), (0.8, 0.8, 2.0), None),
        ((512, 512, 15), (0.976562, 0.976562, 1.25), 1.25),
        ((128, 128, 260), (0.9, 0.9, 2.5), 2.5),
    ],
)
def test_sybil_as_its_own_code_does_it(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], thickness: float | None
) -> None:
    hu = np.random.default_rng(3).integers(-1024, 800, shape).astype(np.int16)
    check_sybil(volume(hu, affine_of("LPS", spacing, (100.0, 50.0, -20.0)), thickness))


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "totalseg_aorta/ct_cropped.nii.gz",
        "totalseg_ct/example_ct.nii.gz",
        "cip_chest64/dicom",
        "acrin_flt_torso_dcm",
    ],
)
def test_real_scans_too(real_data: Path, name: str) -> None:
    scan = load(real_data / name)
    check_merlin(scan)
    if scan.orientation == "LPS" and scan.spacing_mm[0] < 2:  # ITK takes a minute where its voxels are large
        check_sybil(scan)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("codes", ["LPS", "RAS", "ASL", "IRP"])
@pytest.mark.parametrize("degrees", [0.0, 8.0])
def test_a_marked_place_stays_where_it_is(name: str, codes: str, degrees: float) -> None:
    """A bright ball in air, whichever way the scan runs: found again at the same millimetres through the affine."""
    spacing = {"L": 1.9, "R": 1.9, "P": 1.9, "A": 1.9, "S": 3.1, "I": 3.1}
    shape = {"L": 110, "R": 110, "P": 100, "A": 100, "S": 62, "I": 62}
    size = tuple(spacing[code] for code in codes)
    count = tuple(shape[code] for code in codes)
    affine = rotated(affine_of(codes, size, (-80.0, 60.0, 15.0)), (1, -1, 2), degrees)  # type: ignore[arg-type]
    index = np.stack(np.meshgrid(*(np.arange(n) for n in count), indexing="ij"), axis=-1)
    world = affines.apply(affine, index)
    centre = affines.apply(
        affine, np.array([n * share for n, share in zip(count, (0.53, 0.46, 0.55), strict=True)])
    )
    hu = np.where(((world - centre) ** 2).sum(axis=-1) < 14.0**2, 0, -1000).astype(np.int16)
    scan = volume(hu, affine, 5.0 if codes[2] in "SI" else None)  # thicker than slices are apart
    found = prepared(scan, name)
    values = np.asarray(found.array_ijk, dtype=np.float64)
    low, high = np.percentile(values[values != 0], 0.5) if name == "sybil" else values.min(), values.max()
    inside = np.argwhere(values > (low + high) / 2)
    assert len(inside) > 100
    middle = affines.apply(found.affine_ras, inside.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(middle, centre, atol=0.5)
    # And as large as it is: its volume in millimetres, not in voxels.
    mm3 = len(inside) * abs(np.linalg.det(found.affine_ras[:3, :3]))
    assert mm3 == pytest.approx(4 / 3 * np.pi * 14.0**3, rel=0.12)
