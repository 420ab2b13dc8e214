"""Preparations of other people's networks, each written as a model file and compared with torch and NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from hirescam_cli.errors import ModelError
from hirescam_cli.explain.feed import Feed
from hirescam_cli.geometry import affine as affines
from hirescam_cli.model.spec import load_spec
from hirescam_cli.prepare import ModelInput, Preparation, prepare
from hirescam_cli.volume import Provenance, Volume
from tests.geometry.worlds import affine_of

HEAD = """
name = "own"
intended_use = "tests"
architecture = "monai.resnet10"
[labels]
names = ["a"]
"""

STYLES = {
    "i3d-stoic": """
[input]
axes = "SPL"
channels = "one"
[[preparation]]
step = "resample"
spacing_mm = [1.6, 1.6, 1.6]
interpolation = "linear"
[[preparation]]
step = "pad_crop"
shape = [60, 64, 64]
anchor = ["start", "centre", "centre"]
value = -1100
[[preparation]]
step = "window"
hu = [-1100, 300]
""",
    "luna25": """
[input]
axes = "SPL"
channels = "one"
[[preparation]]
step = "resample"
spacing_mm = [0.78125, 0.78125, 0.78125]
interpolation = "linear"
convention = "torchio"
[[preparation]]
step = "pad_crop"
shape = [64, 64, 64]
value = -1000
[[preparation]]
step = "window"
hu = [-1000, 400]
""",
    "astra": """
[input]
axes = "RAS"
channels = "repeat:3"
[[preparation]]
step = "crop_foreground"
above_hu = -1000
[[preparation]]
step = "resize"
shape = [28, 28, 20]
interpolation = "area"
[[preparation]]
step = "window"
hu = [-1000, 1000]
""",
    "z-score": """
[input]
axes = "LPS"
channels = "one"
[[preparation]]
step = "normalise"
of = "volume"
scale = "z-score"
[[preparation]]
step = "resize"
shape = [20, 20, 20]
interpolation = "linear"
""",
    "min-max": """
[input]
axes = "LPS"
channels = "one"
[[preparation]]
step = "resize"
shape = [20, 20, 20]
interpolation = "nearest"
[[preparation]]
step = "normalise"
of = "volume"
scale = "min-max"
""",
    "windows": """
[input]
axes = "SPL"
channels = "windows"
[[preparation]]
step = "pad_crop"
shape = [40, 40, 40]
value = -1024
[[preparation]]
step = "window"
hu = [[-1150, 350], [-160, 240], [-800, 1800]]
[[preparation]]
step = "normalise"
subtract = 0.5
divide = 0.25
""",
}


def preparation_of(tmp_path: Path, text: str) -> Preparation:
    (tmp_path / "own.toml").write_text(HEAD + text, encoding="utf-8")
    return load_spec(str(tmp_path / "own.toml")).preparation


@pytest.fixture(scope="module")
def scan() -> Volume:
    """HU that change smoothly, with a rim of air."""
    shape = (44, 40, 36)
    i, j, k = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    hu = -200 + 500 * np.sin(i / 5) * np.cos(j / 7) + 9.0 * k
    for axis in range(3):
        hu[(slice(None),) * axis + (slice(0, 3),)] = -1000
    return Volume(
        np.rint(hu).astype(np.int16), affine_of("LPS", (1.5, 1.5, 2.0)), Provenance("nifti", "0" * 64)
    )


def fed(scan: Volume, preparation: Preparation) -> tuple[ModelInput, NDArray[np.float32]]:
    """The prepared scan, and what the network gets: [channel, i, j, k]."""
    found = prepare(scan, preparation)
    feed = Feed.of(preparation, "ncijk")
    tensor = feed.tensor(torch.from_numpy(feed.positions(found.array_ijk)))
    return found, tensor[0].numpy()


def along_spl(scan: Volume) -> torch.Tensor:
    """HU [slice from the feet, row, column] of a scan whose axes run to left, back and head."""
    return torch.from_numpy(scan.array_ijk.astype(np.float32).transpose(2, 1, 0).copy())


def sampled(hu: torch.Tensor, positions: list[NDArray[np.float64]]) -> torch.Tensor:
    """Linear interpolation at the product of `positions`; beyond the outer centres their values hold."""
    for axis, x in enumerate(positions):
        x = np.clip(x, 0, hu.shape[axis] - 1)
        lower = np.minimum(np.floor(x).astype(int), hu.shape[axis] - 2)
        part = torch.from_numpy((x - lower).astype(np.float32)).reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
        index = torch.from_numpy(lower)
        hu = hu.index_select(axis, index) * (1 - part) + hu.index_select(axis, index + 1) * part
    return hu


def test_i3d_as_for_stoic(scan: Volume, tmp_path: Path) -> None:
    found, values = fed(scan, preparation_of(tmp_path, STYLES["i3d-stoic"]))
    sizes = [round(n * mm / 1.6) for n, mm in zip((36, 40, 44), (2.0, 1.5, 1.5), strict=True)]
    steps = [1.6 / 2.0, 1.6 / 1.5, 1.6 / 1.5]
    hu = sampled(along_spl(scan), [np.arange(n) * step for n, step in zip(sizes, steps, strict=True)])
    pad = [(0, 60 - sizes[0]), *(((64 - n) // 2, 64 - n - (64 - n) // 2) for n in sizes[1:])]
    hu = functional.pad(hu, [w for pair in reversed(pad) for w in pair], value=-1100.0)
    expected = (hu.clamp(-1100, 300) + 1100) / 1400
    np.testing.assert_allclose(values[0], expected, atol=1e-5)
    # The anchor is the foot's end: its first voxel stays the scan's first.
    index = np.linalg.inv(found.affine_ras) @ scan.affine_ras @ [0, 0, 0, 1]
    np.testing.assert_allclose(index[:3], [0, pad[1][0], pad[2][0]], atol=1e-9)


def test_luna25_crops_50_mm_about_the_centre(scan: Volume, tmp_path: Path) -> None:
    found, values = fed(scan, preparation_of(tmp_path, STYLES["luna25"]))
    size = 0.78125
    counts = [int(n * mm / size) for n, mm in zip((36, 40, 44), (2.0, 1.5, 1.5), strict=True)]
    positions = []
    for n, mm, count in zip((36, 40, 44), (2.0, 1.5, 1.5), counts, strict=True):
        whole = (n - 1) / 2 + (np.arange(count) - (count - 1) / 2) * size / mm
        positions.append(whole[(count - 64) // 2 :][:64])
    expected = (sampled(along_spl(scan), positions) + 1000).clamp(0, 1400) / 1400
    np.testing.assert_allclose(values[0], expected, atol=1e-4)
    middle = affines.apply(found.affine_ras, np.array([31.5, 31.5, 31.5]))
    centre = affines.apply(scan.affine_ras, (np.array(scan.array_ijk.shape) - 1) / 2)
    assert np.abs(middle - centre).max() <= size / 2 + 1e-9
    np.testing.assert_allclose(found.grid.spacing_mm, size)


def test_area_interpolation_after_a_crop_to_the_foreground(scan: Volume, tmp_path: Path) -> None:
    found, values = fed(scan, preparation_of(tmp_path, STYLES["astra"]))
    body = scan.array_ijk[3:, 3:, 3:][::-1, ::-1].astype(np.float32).copy()  # to the right, front and head
    resized = functional.interpolate(torch.from_numpy(body)[None, None], size=(28, 28, 20), mode="area")
    expected = ((resized[0, 0].clamp(-1000, 1000) + 1000) / 2000).numpy()
    assert values.shape == (3, 28, 28, 20)
    for channel in values:
        np.testing.assert_allclose(channel, expected, atol=1e-5)
    # The faces of the input are those of the box.
    for corner, voxel in (((-0.5,) * 3, (43.5, 39.5, 2.5)), ((27.5, 27.5, 19.5), (2.5, 2.5, 35.5))):
        np.testing.assert_allclose(
            affines.apply(found.affine_ras, np.array(corner)), affines.apply(scan.affine_ras, np.array(voxel))
        )


def test_scaling_by_the_volume_before_and_after_resizing(scan: Volume, tmp_path: Path) -> None:
    hu = scan.array_ijk.astype(np.float32)
    scored = torch.from_numpy((hu - hu.mean()) / hu.std())[None, None]
    expected = functional.interpolate(scored, size=(20, 20, 20), mode="trilinear")[0, 0]
    np.testing.assert_allclose(
        fed(scan, preparation_of(tmp_path, STYLES["z-score"]))[1][0], expected, atol=1e-4
    )
    near = functional.interpolate(torch.from_numpy(hu)[None, None], size=(20, 20, 20), mode="nearest")[0, 0]
    spread = (near - near.min()) / (near.max() - near.min())
    np.testing.assert_allclose(
        fed(scan, preparation_of(tmp_path, STYLES["min-max"]))[1][0], spread, atol=1e-5
    )


def test_windows_as_channels(scan: Volume, tmp_path: Path) -> None:
    _, values = fed(scan, preparation_of(tmp_path, STYLES["windows"]))
    hu = np.full((40, 40, 40), -1024.0)
    hu[2:38] = along_spl(scan).numpy()[:, :, 2:42]
    for channel, (low, high) in zip(values, ((-1150, 350), (-160, 240), (-800, 1800)), strict=True):
        expected = ((np.clip(hu, low, high) - low) / (high - low) - 0.5) / 0.25
        np.testing.assert_allclose(channel, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'step = "resample"\nspacing_mm = [1, 1, 1]\nconvention = "itk"',
            "convention is 'itk', expected hirescam or",
        ),
        (
            'step = "resample"\nspacing_mm = [1, 1, 1]\nspacing_of = "tags"',
            "spacing_of is 'tags', expected voxels or",
        ),
        (
            'step = "pad_crop"\nshape = [4, 4, 4]\nconvention = "itk"',
            "convention is 'itk', expected hirescam or",
        ),
        ('step = "pad_crop"\nshape = [0, 4, 4]', "expected three positive whole numbers of voxels"),
        ('step = "resize"\nshape = [-1, 4, 4]', r"0: as many as there are"),
        (
            'step = "window"\nhu = [0, 1]\nlevels = 4\nrounding = "up"',
            "rounding is 'up', expected nearest or 16-bit",
        ),
        ('step = "window"\nhu = [0, 1]\nrounding = "16-bit"', "levels is missing"),
    ],
)
def test_what_a_step_cannot_be_is_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        preparation_of(tmp_path, f'[input]\naxes = "RAS"\n[[preparation]]\n{line}\n')
