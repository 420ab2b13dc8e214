"""A model's preparation: in which direction its axes grow, which steps are taken, how channels are made of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine, AxisOrder, Grid, reorient
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.prepare.fused import cut_out, fused
from hirescam_cli.prepare.image import Edges, Image, Place
from hirescam_cli.prepare.step import Step
from hirescam_cli.prepare.steps.normalise import Normalise
from hirescam_cli.prepare.steps.pad_crop import PadAndCrop
from hirescam_cli.prepare.steps.resample import Resample
from hirescam_cli.prepare.steps.resize import Resize
from hirescam_cli.prepare.steps.window import Window
from hirescam_cli.volume import Volume
from hirescam_cli.warning import Warning

OBLIQUE_WARNING_DEGREES = 10.0
_WITHOUT_WINDOW = (-1000.0, 1000.0)


@dataclass(frozen=True)
class Preparation:
    """`axes`: the patient's direction in which each axis of the input grows ("IPL": feet, back, left).

    `channels`: "one"; "repeat:N", N times the same; "slab:N", groups of N slices along the first axis as channels of
    one position; "windows", one for each pair of HU of the last window.
    """

    axes: str
    channels: str
    steps: tuple[Step, ...]

    @cached_property
    def deferred(self) -> tuple[Step, ...]:
        """The steps at the end that change values voxel by voxel: they are done where the network is."""
        count = 0
        while count < len(self.steps) and self.steps[-1 - count].pointwise:
            count += 1
        return self.steps[len(self.steps) - count :]

    @property
    def early(self) -> tuple[Step, ...]:
        """The steps before `deferred`."""
        return self.steps[: len(self.steps) - len(self.deferred)]

    @property
    def slab(self) -> int:
        """How many slices make one position of the first axis."""
        kind, _, number = self.channels.partition(":")
        return int(number) if kind == "slab" else 1

    @property
    def shape(self) -> Shape3 | None:
        """Voxels of the network's input along its axes; None where that depends on the scan."""
        known = self._shape_after((0, 0, 0), unknown=(0, 0, 0))
        return None if 0 in known else known

    def likely_shape(self, usual: Shape3) -> Shape3:
        """The same, where what depends on the scan is as for a scan of the `usual` size that needs no resampling."""
        return self._shape_after(usual, unknown=None)

    def _shape_after(self, shape: Shape3, unknown: Shape3 | None) -> Shape3:
        """Voxels after all steps, of `shape` before them; `unknown`: after a step whose result depends on the scan
        (None: as before it)."""
        for step in self.steps:
            if isinstance(step, PadAndCrop):
                shape = step.shape
            elif isinstance(step, Resize):
                i, j, k = step.sizes(shape)
                shape = (i, j, k)
            elif not step.pointwise and not isinstance(step, Normalise):
                shape = unknown or shape
        return shape

    @property
    def window_hu(self) -> tuple[float, float]:
        """The HU between which the network can tell values apart: where a scan is best looked at."""
        windows = [step for step in self.steps if isinstance(step, Window)]
        if not windows:
            return _WITHOUT_WINDOW
        return min(low for low, _ in windows[-1].hu), max(high for _, high in windows[-1].hu)

    def place(self, grid: Grid, slice_thickness_mm: float | None = None) -> Place | None:
        """Where the input of a scan on `grid` lies; None where that depends on its voxels."""
        place: Place | None = _whole(*reorient(grid, self.axes), slice_thickness_mm)
        for step in self.steps:
            place = None if place is None else step.place(place)
        return place

    def described(self) -> dict[str, object]:
        """All of it as plain data, in the words of model files."""
        steps = [
            {"step": step.step, **{field.name: getattr(step, field.name) for field in fields(step)}}  # type: ignore[arg-type]
            for step in self.steps
        ]
        return {"axes": self.axes, "channels": self.channels, "steps": steps}


def radchest(
    spacing_mm: tuple[float, float, float],
    shape: Shape3,
    hu_window: tuple[float, float],
    *,
    hu_clip: tuple[float, float] = (-1000.0, 1000.0),
    subtract: float = 0.449,
    interpolation: str = "bspline",
) -> Preparation:
    """RAD-ChestCT's published preparation, which AxialNet's authors trained with: axes to the feet, back and left."""
    low, high = hu_clip
    return Preparation(
        "IPL",
        "slab:3",
        (
            Resample(spacing_mm, interpolation),
            Window((hu_clip,), hu_clip, int(high - low) + 1),
            PadAndCrop(shape),
            Window((hu_window,)),
            Normalise(subtract),
        ),
    )


@dataclass(frozen=True)
class Coverage:
    """`scan_seen_fraction`: share of the scan's voxels inside the network's input.

    `padding_fraction`: share of the input's voxels that are padding.
    """

    scan_seen_fraction: float
    padding_fraction: float


@dataclass(frozen=True, eq=False)
class ModelInput:
    """A prepared scan: `array_ijk` int16 or float32, along the model's axes, before its deferred steps.

    `affine_ras`: its index to RAS mm. `edges`: per axis between which index there is scan; the rest is padding.
    """

    array_ijk: Voxels
    affine_ras: Affine
    edges: Edges
    coverage: Coverage
    warnings: tuple[Warning, ...] = ()

    @property
    def grid(self) -> Grid:
        """Where the network looks."""
        i, j, k = self.array_ijk.shape
        return Grid((i, j, k), self.affine_ras)

    def padding_groups(self, slices: int) -> NDArray[np.bool_]:
        """For each group of so many slices along the first axis, whether it holds nothing but padding."""
        start, stop = (edge + 0.5 for edge in self.edges[0])
        first = np.arange(self.array_ijk.shape[0] // slices) * slices
        return (first + slices <= start) | (first >= stop)


def coverage(volume: Volume, preparation: Preparation) -> Coverage:
    """What the network would see of a scan; its voxels are looked at only where that depends on them."""
    place = preparation.place(volume.grid, volume.slice_thickness_mm)
    if place is None:
        return prepare(volume, preparation).coverage
    return _coverage(reorient(volume.grid, preparation.axes)[1], place)


def _coverage(scan: Grid, place: Place) -> Coverage:
    seen = 1.0
    to_input = np.linalg.inv(place.grid.affine_ras) @ scan.affine_ras
    for axis, size in enumerate(scan.shape):
        position = to_input[axis, axis] * np.arange(size) + to_input[axis, 3]
        inside = (position >= -0.5 - 1e-6) & (position <= place.grid.shape[axis] - 0.5 + 1e-6)
        seen *= float(inside.mean())
    filled = [(high - low) / size for (low, high), size in zip(place.edges, place.grid.shape, strict=True)]
    return Coverage(scan_seen_fraction=seen, padding_fraction=max(0.0, float(1.0 - np.prod(filled))))


def prepare(volume: Volume, preparation: Preparation) -> ModelInput:
    """Prepare a scan for a network.

    Raises ScanError for an affine that is singular, and what the steps raise.
    """
    order, grid = _oriented(volume, preparation.axes)
    place = _whole(order, grid, volume.slice_thickness_mm)
    image = after(Image(order.apply(volume.array_ijk), place), preparation.early)
    return ModelInput(
        array_ijk=np.ascontiguousarray(image.array),
        affine_ras=image.affine_ras,
        edges=image.place.edges,
        coverage=_coverage(grid, image.place),
        warnings=_warnings(volume),
    )


def _whole(order: AxisOrder, grid: Grid, slice_thickness_mm: float | None) -> Place:
    """A reordered scan; the thickness is that of slices along its own last axis."""
    sizes = list(grid.spacing_mm)
    if slice_thickness_mm is not None:
        sizes[order.source.index(2)] = slice_thickness_mm
    i, j, k = sizes
    return Place.whole(grid, (i, j, k))


def after(image: Image, steps: Sequence[Step]) -> Image:
    """The image after some steps."""
    quick = fused(image, steps)
    if quick is not None:
        image, steps = quick, steps[3:]
    steps = list(steps)
    while steps:
        cut = cut_out(image, steps)
        image = steps[0].apply(image) if cut is None else cut
        del steps[: 1 if cut is None else 2]
    return image


def _oriented(volume: Volume, axes: str) -> tuple[AxisOrder, Grid]:
    try:
        return reorient(volume.grid, axes)
    except ValueError as error:
        raise ScanError(
            f"The scan's affine is unusable: {error}.",
            hint="Correct the orientation in the file's header.",
            code="affine-singular",
            stage="prepare",
        ) from error


def _warnings(volume: Volume) -> tuple[Warning, ...]:
    angle = affines.obliquity_degrees(volume.affine_ras)
    if angle <= OBLIQUE_WARNING_DEGREES:
        return ()
    return (
        Warning(
            "oblique",
            f"the scan is oblique by {angle:.1f} degrees; the network sees it along its nearest axes, "
            "not along the patient's.",
        ),
    )
