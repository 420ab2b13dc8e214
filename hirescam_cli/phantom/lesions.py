"""Abnormalities: what they are made of, and how they are painted with their masks.

Names are those of RAD-ChestCT's labels. Frame and units as in `phantom.anatomy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hirescam_cli.geometry.types import Voxels
from hirescam_cli.phantom.anatomy import Anatomy
from hirescam_cli.phantom.organs import FAT_HU, FLUID_HU, ripple
from hirescam_cli.phantom.render import (
    Ellipsoid,
    Point,
    Slab,
    Tube,
    paint_shape,
    union_depth,
    union_reach,
)

FINDINGS = (
    "nodule",
    "mass",
    "consolidation",
    "pleural_effusion",
    "pneumothorax",
    "cardiomegaly",
    "pericardial_effusion",
    "pacemaker_or_defib",
)
_ALL = (slice(None), slice(None), slice(None))


class Lesion(Protocol):
    """One abnormality, or one part of it."""

    @property
    def label(self) -> str:
        """The finding."""

    @property
    def centre(self) -> Point | None:
        """Where it was placed; None where it has no one centre."""

    def paint(self, slab: Slab, anatomy: Anatomy) -> None:
        """Paint into the slab and mark the voxels in the mask."""


@dataclass(frozen=True)
class Focal:
    """A nodule or mass: ellipsoids together, with thin strands (`spicules`) around."""

    label: str
    centre: Point
    blobs: tuple[Ellipsoid, ...]
    spicules: tuple[Tube, ...]
    hu: float

    def paint(self, slab: Slab, anatomy: Anatomy) -> None:  # noqa: ARG002 - one signature for all lesions
        for tube in self.spicules:
            paint_shape(slab, tube, self.hu, in_lung=True)
        found = slab.box(*union_reach(self.blobs))
        if found is not None:
            box, axes = found
            slab.paint(box, slab.share(union_depth(self.blobs, axes)), self.hu, label=self.label)


@dataclass(frozen=True)
class Consolidation:
    """A patch of airless lung with a cloudy edge and open airways in it."""

    label: str
    centre: Point
    outline: Ellipsoid
    bronchi: tuple[Tube, ...]
    hu: float
    wave_mm: float

    def paint(self, slab: Slab, anatomy: Anatomy) -> None:
        found = slab.box(*self.outline.grown(14.0).reach())
        if found is None:
            return
        box, (x, y, z) = found
        cloud = ripple(anatomy, x, y, z, self.wave_mm, 1)
        depth = self.outline.depth(x, y, z) + 6.0 * cloud
        share = slab.share(depth, 9.0) * slab.lung[box]
        tissue = self.hu + 30.0 * ripple(anatomy, x, y, z, 13.0, 1)
        airway = np.zeros_like(share)
        for tube in self.bronchi:
            airway = np.maximum(airway, slab.share(tube.depth(x, y, z)))
        slab.paint(box, share, tissue - airway * (tissue + 850.0), label=self.label)


@dataclass(frozen=True)
class Effusion:
    """Fluid between lung and chest wall, thickest at the back and the base."""

    label: str
    side: float
    thickness_mm: float
    top_z: float
    front_y: float
    centre: Point | None = None

    def thickness(self, x: Voxels, y: Voxels, z: Voxels, anatomy: Anatomy) -> Voxels:
        """Thickness in mm of the layer of fluid along the wall, at the height and depth of (y, z)."""
        back = np.clip((self.front_y - y) / 55.0, 0.0, 1.0)
        low = np.clip((self.top_z - z) / 70.0, 0.0, 1.0)
        here = np.clip(self.side * (x - anatomy.mediastinum_x), 0.0, 1.0)
        return self.thickness_mm * np.sqrt(back * low) * here

    def paint(self, slab: Slab, anatomy: Anatomy) -> None:
        if slab.z[0] > self.top_z:
            return
        x, y, z = slab.axes
        depth = self.thickness(x, y, z, anatomy) - slab.depth
        slab.paint_in_lung(_ALL, slab.share(depth), FLUID_HU, label=self.label)


@dataclass(frozen=True)
class Pneumothorax:
    """Air between lung and chest wall, in front and at the apex, with the lung's surface as a thin line."""

    label: str
    side: float
    thickness_mm: float
    back_y: float
    low_z: float
    centre: Point | None = None

    def thickness(self, x: Voxels, y: Voxels, z: Voxels, anatomy: Anatomy) -> Voxels:
        """Thickness in mm of the layer of air along the wall."""
        front = np.clip((y - self.back_y) / 45.0, 0.0, 1.0) * np.clip((z - self.low_z) / 50.0, 0.0, 1.0)
        apex = np.clip((z - anatomy.apex_z + 62.0) / 40.0, 0.0, 1.0)
        here = np.clip(self.side * (x - anatomy.mediastinum_x), 0.0, 1.0)
        return self.thickness_mm * np.sqrt(np.maximum(front, apex)) * here

    def paint(self, slab: Slab, anatomy: Anatomy) -> None:
        x, y, z = slab.axes
        here = slab.share(self.side * (x - anatomy.mediastinum_x))
        slab.hu += here * slab.lung * np.float32(1.6 * self.thickness_mm)
        thickness = self.thickness(x, y, z, anatomy)
        depth = thickness - slab.depth
        air = slab.share(depth)
        line = slab.share(1.3 - np.abs(depth)) * (thickness > 3.0) * 0.8
        lung = slab.lung.copy()
        slab.paint(_ALL, air * lung, -994.0)
        slab.hu += line * lung * (-60.0 - slab.hu)
        slab.mark(self.label, _ALL, (air * lung > 0.5) & (thickness > 2.0))


@dataclass(frozen=True)
class Device:
    """A pulse generator under the skin of the upper chest and its leads into the heart."""

    label: str
    centre: Point
    half_mm: Point
    turn: tuple[Point, Point, Point]
    leads: tuple[Tube, ...]

    def paint(self, slab: Slab, anatomy: Anatomy) -> None:  # noqa: ARG002 - one signature for all lesions
        reach = max(self.half_mm) * 1.5
        pocket = Ellipsoid(
            self.centre, (self.half_mm[0] * 1.7, self.half_mm[1] + 9.0, self.half_mm[2] * 1.7), self.turn
        )
        found = slab.box([c - reach - 15.0 for c in self.centre], [c + reach + 15.0 for c in self.centre])
        if found is not None:
            box, axes = found
            outside = (slab.hu[box] < -400.0) & (slab.lung[box] < 0.05)
            slab.paint(box, slab.share(pocket.depth(*axes)) * outside, FAT_HU)
            square: Voxels | float = 0.0
            for direction, half in zip(self.turn, self.half_mm, strict=True):
                along = sum(d * (axis - c) for d, axis, c in zip(direction, axes, self.centre, strict=True))
                square = square + (along / half) ** 4
            slab.paint(box, slab.share((1.0 - square**0.25) * self.half_mm[1], 2.0), 2600.0, label=self.label)
        for tube in self.leads:
            paint_shape(slab, tube, 2400.0, label=self.label)
