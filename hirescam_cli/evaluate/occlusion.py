"""Occlusion of one scan: how much each logit drops when a window of the input is replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.fills import Values, filling
from hirescam_cli.evaluate.windows import Window, windows_of_group, windows_of_volume
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.placement import Placement

Floats = NDArray[np.float64]


class Answer(Protocol):
    """What a network says of one scan: see `explain.explanation.Explanation`."""

    @property
    def cams(self) -> Mapping[str, NDArray[np.float32]]:
        """Maps [L, i, j, k] by method."""

    @property
    def logits(self) -> Floats:
        """Logits [L]."""

    @property
    def probabilities(self) -> Floats:
        """Probabilities [L]."""

    @property
    def slice_scores(self) -> NDArray[np.float32] | None:
        """Scores [L, S], whose mean is the logit; None where the network has none."""


class Subject(Protocol):
    """The network that is asked, on scans as it takes them: voxels [i, j, k] before what its device does to them.

    `by_slices`: slice groups of `slab` slices along i do not know of each other until the mean of their scores.
    """

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The probability from which each is positive."""

    @property
    def placement(self) -> Placement:
        """Where its cells lie, as the model says."""

    @property
    def by_slices(self) -> bool:
        """See above."""

    @property
    def slab(self) -> int:
        """See above."""

    @property
    def air(self) -> float:
        """What -1000 HU is among the voxels."""

    def explain(self, voxels: Voxels, methods: Sequence[str]) -> Answer:
        """Logits, scores and maps of a scan."""

    def scores(self, voxels: Voxels) -> NDArray[np.float32]:
        """Scores [groups, L] of slice groups laid one after another, or logits [1, L] of a whole volume."""

    def to_voxel(self, placement: Placement, cells: Shape3, shape: Shape3) -> Affine:
        """Cell to voxel of an input of `shape`; diagonal."""


@dataclass(frozen=True, eq=False)
class Input:
    """A scan as the network takes it. `edges`: per axis between which index there is scan, the rest is padding."""

    case: str
    voxels: Voxels
    affine_ras: Affine
    edges: tuple[tuple[float, float], ...]

    @property
    def shape(self) -> Shape3:
        """Voxels along each axis."""
        i, j, k = self.voxels.shape
        return (i, j, k)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which voxels [i, j, k] hold scan."""
        masks = [
            (np.arange(size) >= low - 1e-6) & (np.arange(size) <= high + 1e-6)
            for size, (low, high) in zip(self.shape, self.edges, strict=True)
        ]
        return np.asarray(masks[0][:, None, None] & masks[1][None, :, None] & masks[2][None, None, :])


@dataclass(frozen=True, eq=False)
class Drops:
    """`drops` [windows, L]: the logit less the logit with that window replaced."""

    windows: list[Window]
    drops: Floats


def occlude_group(
    subject: Subject, scan: Input, answer: Answer, group: int, placement: Placement, fill: str
) -> Drops:
    """Occlusion within one slice group: exact from its scores alone, since no other group's score changes."""
    assert answer.slice_scores is not None
    cells = _cells(answer)
    to_voxel = subject.to_voxel(placement, cells, scan.shape)
    windows = windows_of_group(group, subject.slab, cells, to_voxel, scan.edges)
    part = slice(group * subject.slab, (group + 1) * subject.slab)
    block = np.asarray(scan.voxels[part], dtype=np.float32)
    other = _filling(subject, scan, fill, block, part)
    changed = np.repeat(block[None], len(windows), axis=0)
    for copy, window in zip(changed, windows, strict=True):
        _replace(copy, other, window, part.start)
    found = subject.scores(changed.reshape(-1, *block.shape[1:]))
    before = answer.slice_scores[:, group].astype(np.float64)
    return Drops(windows, (before - found.astype(np.float64)) / answer.slice_scores.shape[1])


def occlude_volume(subject: Subject, scan: Input, answer: Answer, placement: Placement, fill: str) -> Drops:
    """Occlusion of blocks of a whole volume, one pass each."""
    cells = _cells(answer)
    windows = windows_of_volume(cells, subject.to_voxel(placement, cells, scan.shape), scan.edges)
    whole = np.asarray(scan.voxels, dtype=np.float32)
    other = _filling(subject, scan, fill, whole, slice(0, len(whole)))
    found = []
    for window in windows:
        copy = whole.copy()
        _replace(copy, other, window, 0)
        found.append(subject.scores(copy).mean(axis=0, dtype=np.float64))
    return Drops(windows, answer.logits - np.asarray(found).reshape(len(windows), -1))


def replace_group(subject: Subject, scan: Input, answer: Answer, group: int) -> tuple[Floats, Floats]:
    """Changes of the logits [L] when a whole slice group becomes its mean: as its scores say, and by a full pass.

    The two are the same by construction: a check of the arithmetic, not a finding.
    """
    assert answer.slice_scores is not None
    part = slice(group * subject.slab, (group + 1) * subject.slab)
    whole = np.asarray(scan.voxels, dtype=np.float32).copy()
    whole[part] = _filling(subject, scan, "mean", whole[part], part)
    groups = answer.slice_scores.shape[1]
    alone = subject.scores(whole[part]).astype(np.float64)[0]
    expected = (alone - answer.slice_scores[:, group]) / groups
    return expected, subject.scores(whole).mean(axis=0, dtype=np.float64) - answer.logits


def evidence(cam: NDArray[np.float32], windows: Sequence[Window]) -> Floats:
    """The sum of a map [i, j, k] over the cells of each window."""
    return np.array([cam[window.cells].sum(dtype=np.float64) for window in windows])


def evidence_placed(cam: NDArray[np.float32], windows: Sequence[Window], to_voxel: Affine) -> Floats:
    """The evidence in each window where the map's cells are boxes at `to_voxel`: of each the share that lies in it.

    Along the first axis of slice groups a cell is a window's own.
    """
    found = []
    for window in windows:
        parts = [_shares(axis, cam.shape[axis], window, to_voxel) for axis in range(3)]
        found.append(float(np.einsum("ijk,i,j,k->", cam.astype(np.float64), *parts)))
    return np.array(found)


def _shares(axis: int, count: int, window: Window, to_voxel: Affine) -> Floats:
    """Which share of each of `count` cells along an axis lies in a window."""
    if axis == 0 and window.group:
        return np.isin(np.arange(count), np.arange(count)[window.cells[0]]).astype(np.float64)
    stride, offset = float(to_voxel[axis, axis]), float(to_voxel[axis, 3])
    low = stride * (np.arange(count) - 0.5) + offset
    part = window.voxels[axis]
    inside = np.minimum(low + stride, part.stop - 0.5) - np.maximum(low, part.start - 0.5)
    return np.asarray(np.clip(inside, 0.0, None) / stride, dtype=np.float64)


def _cells(answer: Answer) -> Shape3:
    i, j, k = next(iter(answer.cams.values())).shape[1:]
    return (i, j, k)


def _filling(subject: Subject, scan: Input, fill: str, block: Values, part: slice) -> Values:
    spacing = affines.spacing_mm(scan.affine_ras)
    air = subject.air if fill == "air" else 0.0
    return filling(fill, block, scan.inside[part], spacing, air, deep=not subject.by_slices)


def _replace(voxels: Values, other: Values, window: Window, first: int) -> None:
    along, rows, columns = window.voxels
    box = (slice(along.start - first, along.stop - first), rows, columns)
    voxels[box] = other[box]
