"""Nodules set into prepared training scans that have none, so that the network never sees the same nodule twice.

They follow `phantom.lesions`: radius, outline and HU come from the same distributions, the edge is blurred over a
voxel of a scan, and the lung's noise goes on inside. Arrays are network input [slices, side, side] in 255 steps of the
HU window; positions (z, y, x) are in slices and pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry.types import Voxels
from hirescam_cli.phantom.data import BIN_PX, BINS, SIDE, SPACING_MM, WINDOW_HU

RADIUS_MM = (5.5, 13.5)
_HU = (15.0, 70.0)
_EDGE_MM = (1.3, 3.2)
_LUNG = (6, 70)
_LEAST_LUNG = 0.85
_TRIES = 24
_STEP_HU = (WINDOW_HU[1] - WINDOW_HU[0]) / 255.0
_NOISE_STEPS = 16.0

Position = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Nodule:
    """`blobs` [n, 6]: centre (z, y, x) relative to the nodule's and half axes, in mm; `value`: in 255 steps."""

    radius_mm: float
    blobs: NDArray[np.float64]
    value: float
    edge_mm: float

    @property
    def reach_mm(self) -> NDArray[np.float64]:
        """How far it reaches from its centre along z, y and x."""
        reach: NDArray[np.float64] = (np.abs(self.blobs[:, :3]) + self.blobs[:, 3:]).max(
            axis=0
        ) + self.edge_mm
        return reach

    def largest_ml(self, thickness_mm: float) -> float:
        """Volume of the thickest part of a ball of the nodule's radius, cut by a layer."""
        half = min(0.5 * thickness_mm, self.radius_mm)
        return float(2.0 * np.pi * (self.radius_mm**2 * half - half**3 / 3.0)) / 1000.0


def draw_nodule(rng: np.random.Generator) -> Nodule:
    """A random nodule."""
    radius = float(rng.uniform(*RADIUS_MM))
    blobs = [_blob(rng, radius, 0.0)]
    blobs += [_blob(rng, 0.7 * radius, 0.45 * radius) for _ in range(int(rng.integers(0, 3)))]
    value = (float(rng.uniform(*_HU)) - WINDOW_HU[0]) / _STEP_HU
    return Nodule(radius, np.array(blobs), value, float(rng.uniform(*_EDGE_MM)))


def _blob(rng: np.random.Generator, radius: float, shift: float) -> NDArray[np.float64]:
    direction = rng.normal(size=3)
    direction *= shift / np.linalg.norm(direction)
    return np.concatenate([direction, radius * rng.uniform(0.85, 1.15, 3)])


def find_lung(
    rng: np.random.Generator, window: NDArray[np.uint8], first: int, stop: int, radius_mm: float
) -> Position | None:
    """A random place, at a slice from `first` to before `stop`, with aerated lung around; None if none was met."""
    half = int(0.9 * radius_mm / SPACING_MM[1])
    side = SIDE
    for _ in range(_TRIES):
        z = int(rng.integers(first, stop))
        y, x = (int(v) for v in rng.integers(half, side - half, 2))
        patch = window[z, y - half : y + half + 1 : 2, x - half : x + half + 1 : 2]
        if ((patch > _LUNG[0]) & (patch < _LUNG[1])).mean() >= _LEAST_LUNG:
            return (z + float(rng.uniform(-0.5, 0.5)), float(y), float(x))
    return None


def paste(window: NDArray[np.uint8], nodule: Nodule, centre: Position) -> NDArray[np.float32]:
    """Paint the nodule into `window` in place; returns its volume in ml [slices, BINS, BINS]."""
    spacing = SPACING_MM
    ml = np.zeros((len(window), BINS, BINS), dtype=np.float32)
    box, axes = [], []
    for n, size in enumerate(window.shape):
        reach = nodule.reach_mm[n] / spacing[n]
        start, stop = max(0, int(np.ceil(centre[n] - reach))), min(size, int(centre[n] + reach) + 1)
        if start >= stop:
            return ml
        box.append(slice(start, stop))
        axes.append((np.arange(start, stop) - centre[n]).astype(np.float32) * np.float32(spacing[n]))
    share = np.clip(_depth(nodule, axes) / nodule.edge_mm + 0.5, 0.0, 1.0)
    view = window[box[0], box[1], box[2]]
    old = view.astype(np.float32)
    noise = old - np.median(old)
    noise *= np.abs(noise) < _NOISE_STEPS
    view[...] = np.rint(np.clip(old + share * (nodule.value + noise - old), 0.0, 255.0)).astype(np.uint8)
    z, y, x = np.nonzero(share > 0.5)
    voxel_ml = np.float32(np.prod(spacing) / 1000.0)
    at = (z + box[0].start, (y + box[1].start) // BIN_PX, (x + box[2].start) // BIN_PX)
    np.add.at(ml, at, voxel_ml)
    return ml


def _depth(nodule: Nodule, axes: list[NDArray[np.float32]]) -> Voxels:
    """Signed depth in mm below the surface, as `phantom.render` has it for ellipsoids together."""
    depth: Voxels = np.array(-np.inf)
    for cz, cy, cx, *radii in nodule.blobs.astype(np.float32):
        parts = [((axis - c) / r) ** 2 for axis, c, r in zip(axes, (cz, cy, cx), radii, strict=True)]
        square = parts[0][:, None, None] + parts[1][None, :, None] + parts[2][None, None, :]
        depth = np.maximum(depth, (1.0 - np.sqrt(square)) * min(radii))
    return depth
