"""The occlusion referee: do the maps say what the network does when that part of the scan is taken away?

Windows of the input that a placement says belong to cells are replaced, and the drop of each logit is compared with
the evidence in those cells, for both placements. Between slice groups of a network whose logit is the mean of their
scores the answer is exact by construction, so only differences within a group count. The replacement changes the
answer more than the method does: several are asked, and both are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate import judging
from hirescam_cli.evaluate.findings import SCHEMA_VERSION, Agreement, Drift, RefereeFindings
from hirescam_cli.evaluate.occlusion import (
    Answer,
    Drops,
    Input,
    Subject,
    evidence,
    evidence_placed,
    occlude_group,
    occlude_volume,
    replace_group,
)
from hirescam_cli.evaluate.shifts import SHIFTS, Shift, drifts
from hirescam_cli.geometry import Affine
from hirescam_cli.options import check, stated
from hirescam_cli.placement import PLACEMENTS, Placement

FEWEST_WINDOWS = 4
_WHOLE = 0


@dataclass(frozen=True)
class RefereeOptions:
    """`referee`: by what. `groups`: how many slice groups of each label. `fills`: what windows become.

    `shifts`: moves of the scan whose effect is told. Raises UsageError for a value that its option does not know.
    """

    referee: str | None = stated("referee")
    groups: int = stated("groups")
    fills: tuple[str, ...] = stated("fill")
    shifts: tuple[Shift, ...] = SHIFTS
    seed: int = stated("seed")

    def __post_init__(self) -> None:
        check(self)


def referee(
    subject: Subject,
    scans: Iterable[Input],
    methods: Sequence[str],
    options: RefereeOptions,
    *,
    wanted: Mapping[str, Sequence[str]] | None = None,
    done: Callable[[str], None] | None = None,
) -> RefereeFindings:
    """Ask the network itself about the maps of some scans.

    `wanted`: labels by case, such as those that are truly there; without it those that the network finds positive.
    `done(case)` is called after each scan. Cases without such a label are not counted.
    """
    agreements: list[Agreement] = []
    moved: list[Drift] = []
    errors: list[float] = []
    for scan in scans:
        answer = subject.explain(scan.voxels, methods)
        labels = _labels(subject, scan, answer, wanted)
        if labels:
            agreements += _agreements(subject, scan, answer, labels, options)
            moved += drifts(subject, scan, answer, labels, options.shifts)
            errors += _exactness(subject, scan, answer, labels[0])
        if done is not None:
            done(scan.case)
    return _findings(subject, methods, options, agreements, moved, errors)


def _findings(
    subject: Subject,
    methods: Sequence[str],
    options: RefereeOptions,
    agreements: list[Agreement],
    moved: list[Drift],
    errors: list[float],
) -> RefereeFindings:
    seed = options.seed
    compared = judging.comparisons(agreements, methods, subject.placement, options.fills, seed)
    return RefereeFindings(
        schema_version=SCHEMA_VERSION,
        model=subject.name,
        placement=subject.placement,
        methods=tuple(methods),
        fills=options.fills,
        groups=options.groups,
        seed=seed,
        cases=len({agreement.case for agreement in agreements}),
        verdict=judging.verdict(compared, methods[0]),
        overall=judging.overall(agreements, seed),
        comparisons=compared,
        labels=judging.by_label(agreements, seed),
        drift=judging.drift_summaries(moved),
        exactness=max(errors, default=None),
        agreements=tuple(agreements),
        drifts=tuple(moved),
    )


def _labels(
    subject: Subject, scan: Input, answer: Answer, wanted: Mapping[str, Sequence[str]] | None
) -> list[int]:
    if wanted is not None:
        names = wanted.get(scan.case, ())
        return [n for n, label in enumerate(subject.labels) if label in names]
    return [n for n, limit in enumerate(subject.thresholds) if answer.probabilities[n] >= limit]


def _agreements(
    subject: Subject, scan: Input, answer: Answer, labels: Sequence[int], options: RefereeOptions
) -> list[Agreement]:
    """Every label, method, placement and fill of a scan; a group that serves several labels is computed once."""
    chosen = {label: _groups(subject, scan, answer, label, options.groups) for label in labels}
    cells = next(iter(answer.cams.values())).shape[1:]
    places = {name: subject.to_voxel(name, (cells[0], cells[1], cells[2]), scan.shape) for name in PLACEMENTS}
    found: list[Agreement] = []
    for tiling in PLACEMENTS:
        for fill in options.fills:
            drops = {
                group: _occlude(subject, scan, answer, group, tiling, fill)
                for group in sorted({group for groups in chosen.values() for group in groups})
            }
            for label in labels:
                parts = [
                    part for group in chosen[label] if len((part := drops[group]).windows) >= FEWEST_WINDOWS
                ]
                for method, cams in answer.cams.items():
                    for placement in PLACEMENTS if parts else ():
                        key = _Key(scan.case, subject.labels[label], method, placement, tiling, fill)
                        told = [_evidence(key, cams[label], part, places) for part in parts]
                        found.append(_agreement(key, told, [part.drops[:, label] for part in parts]))
    return found


def _groups(subject: Subject, scan: Input, answer: Answer, label: int, most: int) -> list[int]:
    """The slice groups of a label's highest scores that hold scan; the volume as a whole where there are none."""
    if not subject.by_slices or answer.slice_scores is None:
        return [_WHOLE]
    low, high = scan.edges[0]
    firsts = np.arange(answer.slice_scores.shape[1]) * subject.slab
    seen = np.flatnonzero((firsts + subject.slab - 1 >= low) & (firsts <= high))
    order = np.argsort(-answer.slice_scores[label][seen], kind="stable")
    return [int(group) for group in seen[order[:most]]]


def _occlude(
    subject: Subject, scan: Input, answer: Answer, group: int, placement: Placement, fill: str
) -> Drops:
    if subject.by_slices and answer.slice_scores is not None:
        return occlude_group(subject, scan, answer, group, placement, fill)
    return occlude_volume(subject, scan, answer, placement, fill)


@dataclass(frozen=True)
class _Key:
    """Which map is compared, placed where, in whose windows, under which fill."""

    case: str
    label: str
    method: str
    placement: Placement
    tiling: Placement
    fill: str


def _evidence(
    key: _Key, cam: NDArray[np.float32], part: Drops, places: Mapping[Placement, Affine]
) -> NDArray[np.float64]:
    if key.placement == key.tiling:
        return evidence(cam, part.windows)
    return evidence_placed(cam, part.windows, places[key.placement])


def _agreement(
    key: _Key, told: Sequence[NDArray[np.float64]], dropped: Sequence[NDArray[np.float64]]
) -> Agreement:
    """How evidence and drops in the windows of some groups agree."""
    one, two = (np.concatenate([part - part.mean() for part in parts]) for parts in (told, dropped))
    return Agreement(
        case=key.case,
        label=key.label,
        method=key.method,
        placement=key.placement,
        tiling=key.tiling,
        fill=key.fill,
        groups=len(told),
        windows=len(one),
        pearson=correlation(one, two),
        top_cell=float(np.mean([a.argmax() == b.argmax() for a, b in zip(told, dropped, strict=True)])),
    )


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Pearson's correlation of figures whose mean is 0; None where one of them does not vary."""
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    if not scale > 1e-12:
        return None
    return float(np.clip((a * b).sum() / scale, -1.0, 1.0))


def _exactness(subject: Subject, scan: Input, answer: Answer, label: int) -> list[float]:
    if not subject.by_slices or answer.slice_scores is None:
        return []
    group = _groups(subject, scan, answer, label, 1)[0]
    expected, found = replace_group(subject, scan, answer, group)
    return [float((np.abs(expected - found) / np.maximum(1.0, np.abs(answer.logits))).max())]
