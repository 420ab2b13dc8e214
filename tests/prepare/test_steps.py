"""Preparation steps: values where the affine says, by hand, alike on the device, and alike however they are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hirescam_cli.errors import ModelError, ScanError
from hirescam_cli.explain import trial
from hirescam_cli.explain.feed import Feed, canonical
from hirescam_cli.geometry import Grid, reorient
from hirescam_cli.geometry import affine as affines
from hirescam_cli.prepare import Preparation, coverage, prepare
from hirescam_cli.prepare.fused import cut_out, fused
from hirescam_cli.prepare.image import Image, Place
from hirescam_cli.prepare.step import Step
from hirescam_cli.prepare.steps.crop_foreground import CropForeground
from hirescam_cli.prepare.steps.normalise import Normalise
from hirescam_cli.prepare.steps.pad_crop import PadAndCrop
from hirescam_cli.prepare.steps.resample import Resample
from hirescam_cli.prepare.steps.resize import Resize, matrix
from hirescam_cli.prepare.steps.window import Window
from hirescam_cli.volume import Provenance, Volume
from tests.geometry.worlds import affine_of, rotated

SLOPE = np.array([1.5, -2.0, 0.75])
WHOLE = Window(((-1000.0, 1000.0),), (-1000.0, 1000.0), 2001)


def ramp(shape: tuple[int, int, int] = (24, 20, 14), codes: str = "RAS", degrees: float = 0.0) -> Volume:
    """A volume whose value is the same linear function of RAS mm everywhere."""
    affine = rotated(affine_of(codes, (2.0, 2.5, 4.0), (10.0, -20.0, 30.0)), (0, 0, 1), degrees)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    values = affines.apply(affine, index) @ SLOPE
    return Volume(values.astype(np.float32), affine, Provenance("nifti", "0" * 64))


def inner(found: Any) -> tuple[slice, ...]:
    """The voxels whose values no border can have touched."""
    return tuple(
        slice(max(0, int(np.ceil(low)) + 3), max(0, int(np.floor(high)) - 2)) for low, high in found.edges
    )


SPATIAL: dict[str, tuple[Step, ...]] = {
    "resample-linear": (Resample((3.0, 1.7, 2.9), "linear"),),
    "resample-bspline": (Resample((1.1, 1.9, 3.1), "bspline"),),
    "resize-linear": (Resize((31, 17, 20), "linear"),),
    "resize-area": (Resize((12, 10, 7), "area"),),
    "crop_foreground": (CropForeground(-60.0),),
    "pad-centre": (PadAndCrop((30, 11, 14), value=0.0),),
    "pad-start": (PadAndCrop((30, 13, 9), ("start", "start", "start"), 0.0),),
    "pad-end": (PadAndCrop((31, 13, 9), ("end", "end", "end"), 0.0),),
    "all": (
        CropForeground(-80.0), Resample((1.5, 2.0, 3.0), "linear"), Resize((30, 22, 25)),
        PadAndCrop((34, 18, 25), ("end", "centre", "start"), 0.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("axes", ["RAS", "IPL", "ASR"])
@pytest.mark.parametrize("degrees", [0.0, 8.0])
@pytest.mark.parametrize("name", SPATIAL)
def test_each_voxel_holds_what_lies_where_the_affine_puts_it(name: str, axes: str, degrees: float) -> None:
    volume, steps = ramp(degrees=degrees), SPATIAL[name]
    if name == "resize-area":  # whole voxels each, else their mean is not the value in the middle
        i, j, k = reorient(volume.grid, axes)[1].shape
        steps = (Resize((i // 2, j // 2, k // 2), "area"),)
    found = prepare(volume, Preparation(axes, "one", steps))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in found.array_ijk.shape), indexing="ij"), axis=-1)
    expected = affines.apply(found.affine_ras, index) @ SLOPE
    part = inner(found)
    assert found.array_ijk[part].size >= 20
    # A mirrored spline bends a ramp near its ends; half a voxel would be more than 1.
    np.testing.assert_allclose(found.array_ijk[part], expected[part], atol=0.7 if "bspline" in name else 2e-3)
    assert affines.orientation(found.affine_ras) == axes


@pytest.mark.parametrize("name", SPATIAL)
def test_the_place_is_known_without_a_voxel_or_not_at_all(name: str) -> None:
    volume, steps = ramp(), SPATIAL[name]
    preparation = Preparation("RAS", "one", steps)
    place, found = preparation.place(volume.grid), prepare(volume, preparation)
    if any(isinstance(step, CropForeground) for step in steps):
        assert place is None
    else:
        assert place is not None
        assert (place.grid.shape, place.edges) == (found.array_ijk.shape, found.edges)
        np.testing.assert_allclose(place.grid.affine_ras, found.affine_ras, atol=1e-12)
    assert coverage(volume, preparation) == found.coverage


def test_a_crop_to_the_foreground_by_hand() -> None:
    hu = np.full((9, 8, 7), -1000, dtype=np.int16)
    hu[2:5, 3:4, 1:6] = 40
    found = prepare(
        Volume(hu, affine_of("RAS"), Provenance("nifti", "0" * 64)),
        Preparation("RAS", "one", (CropForeground(-500.0),)),
    )
    assert found.array_ijk.shape == (3, 1, 5)
    np.testing.assert_array_equal(found.affine_ras[:3, 3], affines.apply(affine_of("RAS"), (2, 3, 1)))
    assert found.coverage.scan_seen_fraction == pytest.approx(15 / (9 * 8 * 7))
    assert found.coverage.padding_fraction == 0.0
    with pytest.raises(ScanError, match="No voxel of the scan is above 100 HU") as caught:
        CropForeground(100.0).apply(Image(hu, Place.whole(Grid((9, 8, 7), np.eye(4)))))
    assert (caught.value.code, caught.value.stage) == ("no-foreground", "prepare")


def test_resizing_by_hand() -> None:
    assert matrix(4, 2, "area").tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
    assert matrix(3, 2, "area").tolist() == [[0.5, 0.5, 0], [0, 0.5, 0.5]]
    assert matrix(4, 2, "nearest").tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]
    assert matrix(4, 2, "linear").tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
    assert matrix(2, 4, "linear").tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "area"])
@pytest.mark.parametrize("shape", [(5, 9, 4), (13, 6, 8), (7, 7, 7)])
def test_resizing_is_torchs(interpolation: str, shape: tuple[int, int, int]) -> None:
    array = np.random.default_rng(1).normal(size=(8, 7, 6)).astype(np.float32)
    found = Resize(shape, interpolation).apply(Image(array, Place.whole(Grid((8, 7, 6), np.eye(4))))).array
    mode = "trilinear" if interpolation == "linear" else interpolation
    expected = torch.nn.functional.interpolate(torch.from_numpy(array)[None, None], size=shape, mode=mode)
    np.testing.assert_allclose(found, expected[0, 0], atol=1e-5)


POINTWISE: dict[str, tuple[Step, list[float], list[float]]] = {
    "window": (Window(((-1000.0, 200.0),)), [-2000, -1000, -400, 200, 900], [0, 0, 0.5, 1, 1]),
    "window-to": (Window(((0.0, 100.0),), (-1.0, 3.0)), [-5, 0, 25, 100, 120], [-1, -1, 0, 3, 3]),
    "whole-hu": (WHOLE, [-1200, -0.6, 0.5, 1.5, 1200], [-1000, -1, 0, 2, 1000]),
    "clamp": (Window(((-10.0, 10.0),), (-10.0, 10.0)), [-11, -9.5, 0.25, 11], [-10, -9.5, 0.25, 10]),
    "levels": (Window(((0.0, 255.0),), (0.0, 1.0), 6), [0, 20, 30, 254], [0, 0, 0.2, 1]),
    "levels-to": (Window(((0.0, 100.0),), (0.0, 10.0), 3), [0, 24, 26, 80, 300], [0, 0, 5, 10, 10]),
    "normalise": (Normalise(2.0, 4.0), [2, 6, -2], [0, 1, -1]),
}


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_steps_by_hand_here_and_on_the_device(name: str) -> None:
    step, given, expected = POINTWISE[name]
    array = np.array(given, dtype=np.float32).reshape(-1, 1, 1)
    before = array.copy()
    found = step.apply(Image(array, Place.whole(Grid((len(given), 1, 1), np.eye(4))))).array
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-6)
    np.testing.assert_array_equal(array, before)
    np.testing.assert_allclose(step.on_device(torch.tensor(given, dtype=torch.float32)), expected, atol=1e-6)
    assert step.pointwise


def test_normalising_by_the_volume() -> None:
    array = np.random.default_rng(2).normal(40, 7, size=(6, 5, 4)).astype(np.float32)
    image = Image(array, Place.whole(Grid((6, 5, 4), np.eye(4))))
    scored = Normalise(volume="z-score").apply(image).array
    assert (scored.mean(), scored.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    spread = Normalise(volume="min-max").apply(image).array
    assert (spread.min(), spread.max()) == (0.0, 1.0)
    flat = image.with_values(np.full((6, 5, 4), 3.0, dtype=np.float32))
    for volume in ("z-score", "min-max"):
        assert not Normalise(volume=volume).apply(flat).array.any()
        assert not Normalise(volume=volume).pointwise


@pytest.mark.parametrize("shape", [(9, 9, 9), (40, 12, 30), (64, 64, 64)])
@pytest.mark.parametrize("value", ["minimum", -1000.0])
@pytest.mark.parametrize("interpolation", ["bspline", "linear"])
def test_done_in_one_go_is_what_the_steps_give_one_by_one(
    shape: tuple[int, int, int], value: Any, interpolation: str
) -> None:
    hu = np.random.default_rng(3).integers(-1100, 1300, (22, 25, 14)).astype(np.int16)
    steps = (
        Resample((1.4, 3.0, 2.2), interpolation),
        WHOLE,
        PadAndCrop(shape, ("centre", "start", "end"), value),
    )
    image = Image(hu, Place.whole(Grid((22, 25, 14), affine_of("IPL", (2.0, 2.5, 4.0)))))
    quick = fused(image, steps)
    assert quick is not None
    slow = image
    for step in steps:
        slow = step.apply(slow)
    assert quick.array.dtype == np.int16
    # Half-way between two HU the last bit of a sum decides, and processors differ in it.
    differs = quick.array != slow.array
    between = steps[2].apply(steps[0].apply(image)).array[differs]
    np.testing.assert_allclose(np.abs(between - np.floor(between) - 0.5), 0.0, atol=1e-3)
    assert np.abs(quick.array[differs] - slow.array[differs]).max(initial=0.0) <= 1.0
    assert differs.mean() < 0.005
    assert quick.place.edges == slow.place.edges
    np.testing.assert_array_equal(quick.affine_ras, slow.affine_ras)


@pytest.mark.parametrize("shape", [(9, 9, 9), (40, 12, 30), (64, 64, 64)])
@pytest.mark.parametrize("convention", ["hirescam", "monai", "torchio", "torchio-0.18"])
def test_only_what_is_kept_is_resampled(shape: tuple[int, int, int], convention: str) -> None:
    values = np.random.default_rng(3).normal(0, 300, (22, 25, 14)).astype(np.float32)
    image = Image(values, Place.whole(Grid((22, 25, 14), affine_of("IPL", (2.0, 2.5, 4.0)))))
    steps = (
        Resample((1.4, 3.0, 2.2), "linear", convention),
        PadAndCrop(shape, ("centre", "start", "end"), -7.0),
    )
    quick = cut_out(image, steps)
    assert quick is not None
    slow = steps[1].apply(steps[0].apply(image))
    np.testing.assert_allclose(quick.array, slow.array, atol=1e-3)
    assert quick.place.edges == slow.place.edges
    np.testing.assert_array_equal(quick.affine_ras, slow.affine_ras)
    assert cut_out(image, (steps[0], PadAndCrop(shape))) is None


@pytest.mark.parametrize(
    "steps",
    [
        (Resample((1.0, 1.0, 1.0)), Window(((-1000.0, 200.0),)), PadAndCrop((4, 4, 4))),
        (Resample((1.0, 1.0, 1.0)), WHOLE, PadAndCrop((4, 4, 4), value=0.5)),
        (Resample((1.0, 1.0, 1.0)), PadAndCrop((4, 4, 4)), WHOLE),
        (WHOLE, PadAndCrop((4, 4, 4))),
    ],
)
def test_other_lists_are_done_step_by_step(steps: tuple[Step, ...]) -> None:
    assert (
        fused(Image(np.zeros((4, 4, 4), dtype=np.int16), Place.whole(Grid((4, 4, 4), np.eye(4)))), steps)
        is None
    )


def voxels(*shape: int) -> NDArray[np.int16]:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def test_channels_and_the_order_of_axes() -> None:
    hu = voxels(6, 4, 5)
    one = Feed((), "one", 1, "ncijk")
    assert torch.equal(
        one.tensor(torch.from_numpy(one.positions(hu))), torch.from_numpy(hu).float()[None, None]
    )
    three = Feed((), "repeat:3", 1, "nckij").tensor(torch.from_numpy(one.positions(hu)))
    assert three.shape == (1, 3, 5, 6, 4)
    assert torch.equal(three[0, 2], torch.from_numpy(hu.transpose(2, 0, 1)).float())
    slabs = Feed((), "slab:3", 3, "nicjk")
    found = slabs.tensor(torch.from_numpy(slabs.positions(hu)))
    assert found.shape == (1, 2, 3, 4, 5)
    assert torch.equal(found[0, 1, 2], torch.from_numpy(hu[5]).float())


@pytest.mark.parametrize(
    ("value", "kept"),
    [(0.5, np.float32), (-1000.7, np.float32), (40000.0, np.float32), (-1e5, np.float32), (-1024.0, np.int16),
     ("minimum", np.int16)],
)  # fmt: skip
def test_padding_keeps_its_value_beside_whole_hu(value: Any, kept: type) -> None:
    hu = np.arange(-4, 4, dtype=np.int16).reshape(2, 2, 2)
    image = Image(hu, Place.whole(Grid((2, 2, 2), np.eye(4))))
    found = PadAndCrop((4, 2, 2), value=value).apply(image).array
    assert found.dtype == kept
    np.testing.assert_array_equal(found[[0, 3]], np.float32(-4 if value == "minimum" else value))
    np.testing.assert_array_equal(found[1:3], hu)
    # Where nothing is padded, nothing is widened.
    assert PadAndCrop((2, 2, 2), value=value).apply(image).array.dtype == np.int16
    # In one go with resampling to whole HU as step by step.
    steps = (Resample((1.0, 1.0, 1.0), "linear"), WHOLE, PadAndCrop((4, 2, 2), value=value))
    at_once = prepare(Volume(hu, np.eye(4), Provenance("nifti", "0" * 64)), Preparation("RAS", "one", steps))
    np.testing.assert_array_equal(at_once.array_ijk, found)


@dataclass(frozen=True)
class Smooth(Step):
    """A step of another package: from -1000 .. 1000 to 0 .. 1, then the mean of three slices."""

    step: ClassVar[str] = "smooth"

    def apply(self, image: Image) -> Image:
        values = (np.clip(image.floats, -1000, 1000) + 1000) / 2000
        padded = np.pad(values, ((1, 1), (0, 0), (0, 0)), mode="edge")
        return image.with_values(((padded[:-2] + padded[1:-1] + padded[2:]) / 3).astype(np.float32))


@dataclass(frozen=True)
class Halves(Step):
    """Another: every other slice, plus something."""

    more: float = 5.0
    step: ClassVar[str] = "halves"

    def apply(self, image: Image) -> Image:
        less = image.floats[::2] + np.float32(self.more)
        return Image(less, Place.whole(Grid(less.shape, np.eye(4))))


@dataclass(frozen=True)
class Sloped(Step):
    """Another: the number of the slice added."""

    step: ClassVar[str] = "sloped"

    def apply(self, image: Image) -> Image:
        return image.with_values(image.floats + np.arange(len(image.array), dtype=np.float32)[:, None, None])


def foreign(*steps: Step) -> Feed:
    return Feed.of(Preparation("RAS", "one", (PadAndCrop((4, 2, 2), value=-700.0), *steps)), "ncijk")


def test_air_is_what_the_steps_make_of_air() -> None:
    np.testing.assert_array_equal(foreign().air((4, 2, 2), alike=True), np.full((4, 2, 2), -1000))
    np.testing.assert_array_equal(foreign(Smooth()).air((4, 2, 2), alike=True), np.zeros((4, 2, 2)))
    np.testing.assert_array_equal(foreign(Halves()).air((4, 2, 2), alike=False), np.full((4, 2, 2), -995.0))
    both = foreign(Halves(), Smooth()).air((4, 2, 2), alike=True)
    np.testing.assert_allclose(both, np.full((4, 2, 2), 0.0025), atol=1e-7)
    expected = np.broadcast_to(np.arange(-1000.0, -996.0)[:, None, None], (4, 2, 2))
    np.testing.assert_array_equal(foreign(Sloped()).air((4, 2, 2), alike=False), expected)


def test_air_that_cannot_be_known_is_refused() -> None:
    for feed, alike in ((foreign(Sloped()), True), (foreign(Sloped(), Halves()), False)):
        with pytest.raises(ModelError, match="makes different values of it") as caught:
            feed.air((4, 2, 2), alike=alike)
        assert "layer-ig" in str(caught.value.hint)

    class Fails(Step):
        step: ClassVar[str] = "fails"

        def apply(self, image: Image) -> Image:
            raise ScanError(f"no body in {image.array.min()} HU", code="no-body", stage="prepare")

    with pytest.raises(ModelError, match=r"the step 'fails' fails on it \(no body in -1000 HU\)"):
        foreign(Fails()).air((4, 2, 2), alike=False)


def test_the_made_up_body_goes_through_the_steps_of_other_packages() -> None:
    hu = np.full((4, 2, 2), 0, dtype=np.int16)
    hu[2] = 1000
    found = foreign(Halves(), Smooth()).from_hu(hu)[:, 0, 0]
    np.testing.assert_allclose(found, [1 / 2, 2 / 3, 2 / 3, 2 / 3], atol=1e-6)


@pytest.mark.parametrize(
    ("steps", "known", "likely"),
    [
        ((), None, (96, 192, 192)),
        ((PadAndCrop((4, 5, 6)), WHOLE, Normalise(volume="z-score")), (4, 5, 6), (4, 5, 6)),
        ((Resize((0, 16, 18)), WHOLE), None, (96, 16, 18)),
        ((PadAndCrop((4, 5, 6)), Resize((0, 8, 0))), (4, 8, 6), (4, 8, 6)),
        ((PadAndCrop((4, 5, 6)), Resample((1.0, 2.0, 2.0))), None, (4, 5, 6)),
        ((Resize((0, 8, 0)), Resample((1.0, 2.0, 2.0)), Resize((7, 0, 0))), None, (7, 8, 192)),
        ((CropForeground(-500.0), Resize((3, 4, 5))), (3, 4, 5), (3, 4, 5)),
        ((Resize((3, 4, 5)), CropForeground(-500.0)), None, (3, 4, 5)),
    ],
)
def test_what_is_known_of_the_size_of_the_input(
    steps: tuple[Step, ...], known: tuple[int, int, int] | None, likely: tuple[int, int, int]
) -> None:
    preparation = Preparation("RAS", "one", steps)
    assert preparation.shape == known
    assert preparation.likely_shape((96, 192, 192)) == likely
    assert trial.shape_of(preparation) == likely


def test_windows_become_channels() -> None:
    hu = voxels(3, 2, 2) * 10
    limits = ((0.0, 40.0), (0.0, 80.0))
    feed = Feed((Window(limits), Normalise(0.5)), "windows", 1, "ncijk")
    found = feed.tensor(torch.from_numpy(feed.positions(hu)))
    assert found.shape == (1, 2, 3, 2, 2)
    for channel, (low, high) in enumerate(limits):
        expected = np.clip((hu - low) / (high - low), 0, 1) - 0.5
        np.testing.assert_allclose(found[0, channel], expected, atol=1e-6)


def test_the_callers_voxels_are_not_changed() -> None:
    values = np.linspace(-2000, 2000, 24, dtype=np.float32).reshape(4, 3, 2)
    before = values.copy()
    feed = Feed((Window(((-1000.0, 200.0),)), Normalise(0.449)), "one", 1, "ncijk")
    feed.tensor(torch.from_numpy(feed.positions(values)))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("axes", ["ncijk", "icjk", "nckij", "nicjk", "ncij", "cjki"])
def test_targets_of_any_order_are_brought_into_one(axes: str) -> None:
    sizes = {"n": 1, "c": 2, "i": 3, "j": 4, "k": 5}
    plain = np.arange(2 * 3 * 4 * 5).reshape(3, 2, 4, 5)
    if "k" not in axes:
        plain = plain[..., :1]
    given = (
        plain.transpose(["icjk".index(axis) for axis in axes if axis in "icjk"])
        if "k" in axes
        else (plain[..., 0].transpose(["icj".index(axis) for axis in axes if axis in "icj"]))
    )
    tensor = torch.from_numpy(np.ascontiguousarray(given)).reshape([sizes[axis] for axis in axes])
    assert torch.equal(canonical(tensor, axes), torch.from_numpy(plain))
    led = tensor.expand(7, *tensor.shape)
    assert torch.equal(canonical(led, axes, leading=1)[3], torch.from_numpy(plain))
