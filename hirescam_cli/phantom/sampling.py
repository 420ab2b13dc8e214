"""Batches of slice groups with targets per group and per cell, drawn deterministically from a cache of examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.phantom.data import BIN_PX, BINS, SIDE, SLICES, SPACING_MM, Cache, to_cells
from hirescam_cli.phantom.lesions import FINDINGS
from hirescam_cli.phantom.pasting import draw_nodule, find_lung, paste

GROUP = 3
CELLS = 6
_SHIFT_BINS = 3
_LEAST_ML = 0.12
_HARD = [FINDINGS.index(label) for label in ("nodule", "nodule", "mass")]
_NODULE = FINDINGS.index("nodule")
_SHARE_OF_LARGEST = np.array(
    [0.40 if f in ("cardiomegaly", "pericardial_effusion") else 0.10 for f in FINDINGS]
)


@dataclass(frozen=True, eq=False)
class Batch:
    """`window` uint8 [n, 3, side, side]; `group` [n, labels] and `cells` [n, labels, 6, 6]: 1 yes, 0 no, -1 open."""

    window: NDArray[np.uint8]
    group: NDArray[np.int8]
    cells: NDArray[np.int8]


def targets(
    ml: NDArray[np.float32], largest: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Targets of groups from the volumes of abnormality in them.

    `ml` [n, labels, BINS, BINS] in each group; `largest` [n, labels]: the most in any group of the scan. A group that
    holds a small part of the lesion's usual share is left open; so are the cells that hold only its rim.
    """
    cell = to_cells(ml, CELLS)
    total = cell.sum(axis=(2, 3))
    enough = total >= np.maximum(_LEAST_ML, _SHARE_OF_LARGEST * largest)
    group = np.where(enough, 1, np.where(total > 0.01, -1, 0)).astype(np.int8)
    core = (cell >= 0.30 * total[..., None, None]) | (cell >= 2.5)
    cells = np.where(core & enough[..., None, None], 1, np.where(cell > 0.01, -1, 0)).astype(np.int8)
    return group, cells


class Sampler:
    """Draws batches from the first `count` scans: half from anywhere, half with a chosen label.

    The label is chosen evenly, except that with chance `hard_share` it is one of the hard ones, nodules and masses.
    With chance `paste_share` a group of a scan without nodules is given one (`phantom.pasting`).
    `largest` [scans, labels]: the most ml of an abnormality in any group of a scan.
    """

    def __init__(
        self, cache: Cache, seed: int, count: int, hard_share: float = 0.0, paste_share: float = 0.0
    ) -> None:
        self.cache, self.count = cache, count
        self.rng = np.random.default_rng(seed)
        self.hard_share, self.paste_share = hard_share, paste_share
        groups = SLICES // GROUP
        volumes = np.zeros((len(cache), len(FINDINGS), groups), dtype=np.float32)
        for n in range(len(cache)):
            volumes[n] = cache.slice_ml(n).reshape(len(FINDINGS), groups, GROUP).sum(axis=2)
        self.largest = volumes.max(axis=2)
        enough = volumes[:count] >= np.maximum(
            _LEAST_ML, _SHARE_OF_LARGEST[:, None] * self.largest[:count, :, None]
        )
        self.positive = [np.argwhere(enough[:, label]) for label in range(len(FINDINGS))]

    def batch(self, size: int) -> Batch:
        """The next batch, each group moved a little along z, y and x."""
        rng = self.rng
        windows = np.zeros((size, GROUP, SIDE, SIDE), dtype=np.uint8)
        ml = np.zeros((size, len(FINDINGS), BINS, BINS), dtype=np.float32)
        largest = np.zeros((size, len(FINDINGS)), dtype=np.float32)
        for n in range(size):
            scan, first = int(rng.integers(self.count)), int(rng.integers(SLICES - GROUP + 1))
            label = int(rng.integers(len(FINDINGS)))
            if self.hard_share and rng.random() < self.hard_share:
                label = int(rng.choice(_HARD))
            if n % 2 and len(self.positive[label]):
                scan, group = (int(v) for v in self.positive[label][rng.integers(len(self.positive[label]))])
                first = int(np.clip(group * GROUP + rng.integers(-1, 2), 0, SLICES - GROUP))
            dy, dx = (int(v) for v in rng.integers(-_SHIFT_BINS, _SHIFT_BINS + 1, 2))
            window = self.cache.windows[scan, first : first + GROUP]
            volumes = self.cache.group_ml(scan, first, GROUP)
            largest[n] = self.largest[scan]
            if self.paste_share and not self.cache.present[scan, _NODULE] and rng.random() < self.paste_share:
                window, volumes[_NODULE], largest[n, _NODULE] = self._with_nodule(window)
            into, out_of = _moved(SIDE, dy * BIN_PX, dx * BIN_PX)
            windows[n][(slice(None), *into)] = window[(slice(None), *out_of)]
            into, out_of = _moved(BINS, dy, dx)
            ml[n][(slice(None), *into)] = volumes[(slice(None), *out_of)]
        group_target, cell_target = targets(ml, largest)
        return Batch(windows, group_target, cell_target)

    def _with_nodule(self, window: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
        """A copy of a group with a nodule in its lung, its ml [BINS, BINS] there, and the most in any group.

        Without lung in the group there is no nodule either, and 0 ml.
        """
        window, nodule = np.array(window), draw_nodule(self.rng)
        centre = find_lung(self.rng, window, 0, GROUP, nodule.radius_mm)
        if centre is None:
            return window, np.zeros((BINS, BINS), dtype=np.float32), 0.0
        ahead = 0.8 * nodule.radius_mm / SPACING_MM[0]
        z = centre[0] + float(self.rng.uniform(-ahead, ahead))
        ml = paste(window, nodule, (z, centre[1], centre[2])).sum(axis=0)
        return window, ml, nodule.largest_ml(GROUP * SPACING_MM[0])


def paste_scan(
    window: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A copy of a whole scan with one to three nodules, and their ml [slices, BINS, BINS]; zero if no lung was met."""
    window, ml = np.array(window), np.zeros((SLICES, BINS, BINS), dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        nodule = draw_nodule(rng)
        centre = find_lung(rng, window, 0, SLICES, nodule.radius_mm)
        if centre is not None:
            ml += paste(window, nodule, centre)
    return window, ml


def _moved(size: int, dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices into the result and out of the source for a shift of a square image."""
    into = tuple(slice(max(0, d), size + min(0, d)) for d in (dy, dx))
    out_of = tuple(slice(max(0, -d), size + min(0, -d)) for d in (dy, dx))
    return (into[0], into[1]), (out_of[0], out_of[1])


def scan_targets(
    cache: Cache,
    scans: NDArray[np.intp],
    largest: NDArray[np.float32],
    offset: int,
    pasted: dict[int, NDArray[np.float32]],
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Targets of all groups of some scans, [scans * groups, ...]; groups start at slice `offset`.

    `pasted`: by scan, ml of pasted nodules [slices, BINS, BINS].
    """
    groups = SLICES // GROUP
    ml = np.zeros((len(scans), groups, len(FINDINGS), BINS, BINS), dtype=np.float32)
    most = np.repeat(largest[scans][:, None], groups, axis=1)
    for n, scan in enumerate(int(s) for s in scans):
        for g, first in enumerate(range(offset, offset + GROUP * groups, GROUP)):
            ml[n, g] = cache.group_ml(scan, first, min(GROUP, SLICES - first))
            if scan in pasted:
                ml[n, g, _NODULE] += pasted[scan][first : first + GROUP].sum(axis=0)
        if scan in pasted:
            most[n, :, _NODULE] = ml[n, :, _NODULE].sum(axis=(1, 2)).max()
    return targets(ml.reshape(-1, *ml.shape[2:]), most.reshape(-1, len(FINDINGS)))
