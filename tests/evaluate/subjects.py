"""Made-up networks whose right answer under occlusion is known, because their logits are sums over cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.occlusion import Input
from hirescam_cli.geometry import affine as affines
from hirescam_cli.model.contract import stretched
from hirescam_cli.placement import Placement

SIDE, CELLS, SLAB = 40, 4, 3
CENTRAL = affines.scaling((3.0, 5.0, 5.0), (1.0, 12.0, 12.0))
"""Cells that see only the middle 20 x 20 pixels: centres 12, 17, 22, 27."""


@dataclass(frozen=True, eq=False)
class Answer:
    cams: dict[str, NDArray[np.float32]]
    logits: NDArray[np.float64]
    slice_scores: NDArray[np.float32] | None

    @property
    def probabilities(self) -> NDArray[np.float64]:
        return 1.0 / (1.0 + np.exp(-self.logits))


@dataclass(frozen=True, eq=False)
class Linear:
    """A slice group's score is the sum over cells of a weight times the mean voxel of the cell's `true` window.

    The maps of the method "honest" are exactly that, those of "noise" have nothing to do with the scan.
    """

    weights: NDArray[np.float64]
    true: Placement = "stretch"
    by_slices: bool = True
    name: str = "linear"
    placement: Placement = "stretch"
    air: float = 0.0
    slab: int = SLAB

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"label {n}" for n in range(len(self.weights)))

    @property
    def thresholds(self) -> tuple[float, ...]:
        return (0.5,) * len(self.weights)

    def cells(self, voxels: NDArray[np.generic]) -> NDArray[np.float64]:
        """Contributions [L, groups, y, x] to the scores."""
        first, size = (0, SIDE // CELLS) if self.true == "stretch" else (10, 5)
        part = np.asarray(voxels, dtype=np.float64)[
            :, first : first + CELLS * size, first : first + CELLS * size
        ]
        means = part.reshape(-1, SLAB, CELLS, size, CELLS, size).mean(axis=(1, 3, 5))
        return self.weights[:, None] * means

    def explain(self, voxels: NDArray[np.generic], methods: Sequence[str]) -> Answer:
        cells = self.cells(voxels)
        groups = cells.shape[1]
        rng = np.random.default_rng(int(abs(float(voxels.sum()))) % 2**31)
        maps = {"honest": cells / groups, "noise": rng.normal(size=cells.shape)}
        scores = cells.sum(axis=(2, 3)).astype(np.float32)
        cams = {method: maps[method].astype(np.float32) for method in methods}
        return Answer(cams, scores.mean(axis=1, dtype=np.float64), scores if self.by_slices else None)

    def scores(self, voxels: NDArray[np.generic]) -> NDArray[np.float32]:
        scores = self.cells(voxels).sum(axis=(2, 3)).T.astype(np.float32)
        return scores if self.by_slices else scores.mean(axis=0, keepdims=True)

    def to_voxel(
        self, placement: Placement, cells: tuple[int, int, int], shape: tuple[int, int, int]
    ) -> NDArray[np.float64]:
        return stretched(cells, shape) if placement == "stretch" else CENTRAL


def linear(true: Placement = "stretch", labels: int = 2, **more: object) -> Linear:
    """Weights of either sign, the same for each group; voxels are positive, so that logits are mostly so."""
    weights = np.random.default_rng(3).uniform(-0.4, 1.0, size=(labels, CELLS, CELLS))
    return replace(Linear(weights, true), **more)


def scans(count: int, groups: int = 6, padding: int = 0) -> list[Input]:
    """Random positive voxels of 2 x 0.5 x 0.5 mm; `padding` of 0 at the lower end of the third axis."""
    found = []
    for n in range(count):
        rng = np.random.default_rng(100 + n)
        coarse = rng.uniform(1.0, 9.0, size=(groups, 20, 20))
        voxels = coarse.repeat(SLAB, 0).repeat(2, 1).repeat(2, 2).astype(np.float32)
        voxels[:, :, :padding] = 0.0
        edges = ((-0.5, groups * SLAB - 0.5), (-0.5, SIDE - 0.5), (padding - 0.5, SIDE - 0.5))
        found.append(Input(f"case {n}", voxels, affines.scaling((2.0, 0.5, 0.5), (1.0, 2.0, 3.0)), edges))
    return found
