"""How much an explanation depends on where the scan happens to lie on the network's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.findings import Drift
from hirescam_cli.evaluate.occlusion import Answer, Input, Subject
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.placement import PLACEMENTS, Placement

Shift = tuple[int, int, int]

SHIFTS: tuple[Shift, ...] = ((1, 0, 0), (2, 0, 0), (0, 1, 1), (0, 2, 2))
"""One and two voxels along the first axis (AxialNet's slices, which re-cuts its groups), and in the plane."""


def moved(voxels: Voxels, shift: Shift) -> Voxels:
    """The voxels moved by so many places along each axis; what comes in repeats the voxels at the edge."""
    for axis, by in enumerate(shift):
        index = np.clip(np.arange(voxels.shape[axis]) - by, 0, voxels.shape[axis] - 1)
        voxels = np.take(voxels, index, axis=axis) if by else voxels
    return voxels


def drifts(
    subject: Subject, scan: Input, answer: Answer, labels: Sequence[int], shifts: Sequence[Shift] = SHIFTS
) -> list[Drift]:
    """What each shift does to the logits and peaks of `labels`."""
    methods = list(answer.cams)
    cells = next(iter(answer.cams.values())).shape[1:]
    places = {
        placement: subject.to_voxel(placement, (cells[0], cells[1], cells[2]), scan.shape)
        for placement in PLACEMENTS
    }
    found = []
    for shift in shifts:
        after = subject.explain(moved(scan.voxels, shift), methods)
        for label in labels:
            for method in methods:
                pair = (answer.cams[method][label], after.cams[method][label])
                found.append(
                    Drift(
                        case=scan.case,
                        label=subject.labels[label],
                        method=method,
                        shift=shift,
                        logit=float(after.logits[label] - answer.logits[label]),
                        peak_mm=_ways(pair, places, shift, scan.affine_ras),
                    )
                )
    return found


def _ways(
    maps: tuple[NDArray[np.float32], NDArray[np.float32]],
    places: Mapping[Placement, Affine],
    shift: Shift,
    affine_ras: Affine,
) -> dict[Placement, float]:
    """How far the peak moved in the patient: where the scan was moved to is taken back."""
    ways = {}
    for placement, to_voxel in places.items():
        before, after = (
            affines.apply(to_voxel, np.unravel_index(int(cam.argmax()), cam.shape)) for cam in maps
        )
        ends = affines.apply(affine_ras, np.stack([before, after - np.asarray(shift)]))
        ways[placement] = float(np.linalg.norm(ends[1] - ends[0]))
    return ways
