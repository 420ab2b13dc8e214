"""Batches of slice groups with targets per group and per cell, drawn deterministically from a cache of examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.phantom.data import BIN_PX, BINS, PREPARATION, Cache, to_cells
from hirescam_cli.phantom.lesions import FINDINGS

GROUP = 3
CELLS = 6
_SHIFT_BINS = 3
_LEAST_ML = 0.12
_HARD = [FINDINGS.index(label) for label in ("nodule", "nodule", "mass")]
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
    `largest` [scans, labels]: the most ml of an abnormality in any group of a scan.
    """

    def __init__(self, cache: Cache, seed: int, count: int, hard_share: float = 0.0) -> None:
        self.cache, self.count = cache, count
        self.rng = np.random.default_rng(seed)
        self.hard_share = hard_share
        groups = PREPARATION.slices // GROUP
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
        windows = np.zeros((size, GROUP, PREPARATION.side, PREPARATION.side), dtype=np.uint8)
        ml = np.zeros((size, len(FINDINGS), BINS, BINS), dtype=np.float32)
        scans = np.zeros(size, dtype=np.intp)
        for n in range(size):
            scan, first = int(rng.integers(self.count)), int(rng.integers(PREPARATION.slices - GROUP + 1))
            label = int(rng.integers(len(FINDINGS)))
            if self.hard_share and rng.random() < self.hard_share:
                label = int(rng.choice(_HARD))
            if n % 2 and len(self.positive[label]):
                scan, group = (int(v) for v in self.positive[label][rng.integers(len(self.positive[label]))])
                first = int(np.clip(group * GROUP + rng.integers(-1, 2), 0, PREPARATION.slices - GROUP))
            dy, dx = (int(v) for v in rng.integers(-_SHIFT_BINS, _SHIFT_BINS + 1, 2))
            scans[n] = scan
            into, out_of = _moved(PREPARATION.side, dy * BIN_PX, dx * BIN_PX)
            windows[n][(slice(None), *into)] = self.cache.windows[scan, first : first + GROUP][
                (slice(None), *out_of)
            ]
            into, out_of = _moved(BINS, dy, dx)
            ml[n][(slice(None), *into)] = self.cache.group_ml(scan, first, GROUP)[(slice(None), *out_of)]
        group_target, cell_target = targets(ml, self.largest[scans])
        return Batch(windows, group_target, cell_target)


def _moved(size: int, dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices into the result and out of the source for a shift of a square image."""
    into = tuple(slice(max(0, d), size + min(0, d)) for d in (dy, dx))
    out_of = tuple(slice(max(0, -d), size + min(0, -d)) for d in (dy, dx))
    return (into[0], into[1]), (out_of[0], out_of[1])


def scan_targets(
    cache: Cache, scans: NDArray[np.intp], largest: NDArray[np.float32], offset: int
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Targets of all groups of some scans, [scans * groups, ...]; groups start at slice `offset`."""
    groups = PREPARATION.slices // GROUP
    first = [offset + GROUP * g for g in range(groups)]
    ml = np.stack(
        [cache.group_ml(int(n), f, min(GROUP, PREPARATION.slices - f)) for n in scans for f in first]
    )
    return targets(ml, np.repeat(largest[scans], groups, axis=0))
