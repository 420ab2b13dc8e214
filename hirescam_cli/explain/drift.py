"""How far a reduced precision moves logits and maps, measured once when a model is loaded.

Completeness cannot show it: a map and its logit, computed from the same rounded activations, drift together.
So a made-up body (a few slice groups of it, where they are independent) goes through the network in fp32 too, and the
two answers are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import HirescamError
from hirescam_cli.explain.engine import Engine

REFUSAL_LOGITS = 0.5
_GROUPS = 3
_BLOCK = 20


@dataclass(frozen=True)
class Drift:
    """Difference between a precision and fp32 on the sample.

    `logits`: largest absolute difference of a label's logit; `maps`: largest difference of a HiResCAM map's
    cell, divided by the largest magnitude in that map, over all labels. Infinite where the reduced precision
    gives values that are not finite.
    """

    logits: float
    maps: float

    @property
    def refused(self) -> bool:
        """Whether the precision cannot be used."""
        return not self.logits <= REFUSAL_LOGITS


def measure(engine: Engine, reference: Engine, shape: tuple[int, int, int]) -> Drift:
    """The drift of `engine` against `reference`, fp32, on an input of `shape` voxels."""
    slab = engine.feed.slab
    groups = _GROUPS if engine.contract.by_slices else shape[0] // slab
    hu = sample(groups, slab, shape[1:])
    voxels = engine.feed.positions(engine.feed.from_hu(hu.reshape(-1, *shape[1:])))
    padding = np.zeros(groups, dtype=np.bool_)
    exact = reference.explain(voxels, padding, ("hirescam",))
    try:
        found = engine.explain(voxels, padding, ("hirescam",))
    except HirescamError as error:
        if error.code != "not-finite":
            raise
        return Drift(inf, inf)
    largest = np.abs(exact.cams["hirescam"]).max(axis=(1, 2, 3))
    moved = np.abs(found.cams["hirescam"] - exact.cams["hirescam"]).max(axis=(1, 2, 3))
    maps = moved / np.where(largest > 0, largest, 1.0)
    if not np.isfinite(maps).all():
        return Drift(inf, inf)
    return Drift(float(np.abs(found.logits - exact.logits).max()), float(maps.max()))


def sample(groups: int, slices: int, plane: tuple[int, ...]) -> NDArray[np.int16]:
    """HU [groups, slices, *plane], the same each time: an ellipse of soft tissue with two lungs in air,
    uneven in blocks as organs are, and noisy as scans are."""
    generator = np.random.default_rng(0)
    height, width = plane
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    body = (x / 0.9) ** 2 + (y / 0.7) ** 2 <= 1
    lungs = ((np.abs(x) - 0.42) / 0.3) ** 2 + (y / 0.5) ** 2 <= 1
    tissue = np.where(lungs, -850.0, np.where(body, 40.0, -1000.0))
    rows, columns = (-(-size // _BLOCK) for size in plane)
    coarse = generator.normal(0.0, 120.0, (groups, slices, rows, columns))
    uneven = coarse.repeat(_BLOCK, axis=2).repeat(_BLOCK, axis=3)[..., :height, :width]
    noise = generator.normal(0.0, 25.0, (groups, slices, height, width))
    hu = tissue + np.where(body, uneven + noise, 0.0)
    result: NDArray[np.int16] = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return result
