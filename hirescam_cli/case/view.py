"""What pictures and pages are drawn from: a case, its maps and its scan, in memory or from a finished folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.record import Case, Label, Matrix
from hirescam_cli.geometry import Affine, AxisOrder, Grid, reorient
from hirescam_cli.masks.mask import Mask
from hirescam_cli.volume import Volume

UPRIGHT = "IPL"


def matrix(affine: Affine) -> Matrix:
    """An affine as a record holds it."""
    rows = [tuple(float(value) for value in row) for row in np.asarray(affine)]
    return (rows[0], rows[1], rows[2], rows[3])  # type: ignore[return-value]


def affine_of(rows: Matrix) -> Affine:
    """An affine of a record as an array."""
    return np.asarray(rows, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Outlined:
    """A mask to outline: on the pictures of `label`, or on all of them (None)."""

    mask: Mask
    label: str | None = None


@dataclass(frozen=True, eq=False)
class CaseView:
    """A case to look at.

    `volume`: the scan in HU. `native`: per method the signed maps [i, j, k, labels] along the axes of the network's
    input, labels in the case's order. `masks`: what is outlined.

    What is drawn is upright: maps [S, h, w] whose s runs to the feet, y to the back, x to the left, whatever the
    network's axes are (`map_of`, `affines_ras`, `slice_scores`).
    """

    volume: Volume
    case: Case
    native: Mapping[str, NDArray[np.float32]]
    masks: tuple[Outlined, ...] = ()

    @property
    def methods(self) -> list[str]:
        """The methods whose maps there are."""
        return list(self.native)

    @property
    def placement(self) -> str:
        """The placement that the case was explained under."""
        return self.case.placement

    @property
    def window_hu(self) -> tuple[float, float]:
        """The HU window that the network sees."""
        return self.case.seen.window_hu

    @property
    def seen(self) -> Grid:
        """The network's input: what it saw lies in its voxels."""
        return Grid(self.case.seen.shape, affine_of(self.case.seen.affine))

    def label(self, name: str) -> Label:
        """One label of the case."""
        return self.case.label(name)

    def title(self, method: str) -> str:
        """A method's name for people."""
        return self.case.methods[method].title

    def unit(self, method: str) -> str:
        """The unit of a method's cells."""
        return self.case.methods[method].unit

    @cached_property
    def native_affines_ras(self) -> dict[str, Affine]:
        """Per placement the affine of a native map: cell to RAS mm."""
        return {str(name): affine_of(rows) for name, rows in self.case.target.affines.items()}

    @cached_property
    def order(self) -> AxisOrder:
        """How a native map becomes an upright one."""
        return reorient(Grid(self.case.target.cells, self._native_affine), UPRIGHT)[0]

    @property
    def _native_affine(self) -> Affine:
        return self.native_affines_ras[self.placement]

    @cached_property
    def affines_ras(self) -> dict[str, Affine]:
        """Per placement the affine of an upright map: cell (s, y, x) to RAS mm."""
        cells = self.case.target.cells
        return {
            name: reorient(Grid(cells, affine), UPRIGHT)[1].affine_ras
            for name, affine in self.native_affines_ras.items()
        }

    def cams(self, method: str) -> NDArray[np.float32]:
        """All upright maps of a method [S, h, w, labels]; a view."""
        source, flip = self.order.source, self.order.flip
        flips = tuple(slice(None, None, -1 if f else 1) for f in flip)
        upright: NDArray[np.float32] = np.transpose(self.native[method], (*source, 3))[flips]
        return upright

    def native_map_of(self, method: str, name: str) -> NDArray[np.float32]:
        """The signed map [i, j, k] of one method and label along the axes of the network's input."""
        return self.native[method][..., self.label(name).index]

    def map_of(self, method: str, name: str) -> NDArray[np.float32]:
        """The signed upright map [S, h, w] of one method and label."""
        return self.cams(method)[..., self.label(name).index]

    def slice_scores(self, name: str) -> NDArray[np.float64] | None:
        """The score of each slice of upright maps [S]; None where the network has none along the patient's length."""
        scores = self.label(name).slice_scores
        if scores is None or self.order.source[0] != 0:
            return None
        found = np.asarray(scores, dtype=np.float64)
        return found[::-1] if self.order.flip[0] else found
