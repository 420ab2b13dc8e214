"""What the occlusion referee found, as frozen records that give JSON; unknown values are null, never NaN."""

from __future__ import annotations

from typing import Literal

import msgspec

from hirescam_cli.placement import Placement


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A frozen record whose keys are all written and none other is read."""


SCHEMA_VERSION: Literal[1] = 1


class Span(_Record, frozen=True):
    """A mean over `n` cases; `low`, `high`: its 95 % interval over them, null with fewer than 5."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class Agreement(_Record, frozen=True):
    """One map against occlusion: `windows` of `groups` slice groups (one, where the network takes the whole volume).

    `placement`: where the map's cells lie; `tiling`: whose cells the windows are. Where they differ, a window has of
    each cell the share that lies in it.
    `pearson`: between evidence and drop of the logit, both less their mean over the group; null where one of them does
    not vary. `top_cell`: in which share of the groups the window of most evidence is the one of the largest drop.
    """

    case: str
    label: str
    method: str
    placement: Placement
    tiling: Placement
    fill: str
    groups: int
    windows: int
    pearson: float | None
    top_cell: float


class LabelAgreement(_Record, frozen=True):
    """The mean over the cases of a label, in windows of the placement.

    `signs_differ`: the fills' mean correlations have opposite signs.
    """

    label: str
    method: str
    placement: Placement
    fill: str
    cases: int
    pearson: Span | None
    top_cell: Span
    signs_differ: bool


class Overall(_Record, frozen=True):
    """The mean over cases of a case's mean over its labels, in windows of the placement."""

    method: str
    placement: Placement
    fill: str
    pearson: Span | None
    top_cell: Span


class Comparison(_Record, frozen=True):
    """Paired difference of correlations, a - b, over the cases that have both; `fill` null: the mean of all fills.

    Two "placements" under one `method`, or two "methods" under one `placement`. `tiling`: whose cells the windows are;
    null: each placement is asked in its own.
    """

    what: str
    method: str | None
    placement: Placement | None
    fill: str | None
    tiling: Placement | None
    a: str
    b: str
    difference: Span


class Drift(_Record, frozen=True):
    """What moving the scan on the network's grid does to one map: by so many voxels along each axis of its input.

    `logit`: after less before. `peak_mm`: how far the peak moved in the patient, by placement.
    """

    case: str
    label: str
    method: str
    shift: tuple[int, int, int]
    logit: float
    peak_mm: dict[Placement, float]


class DriftSummary(_Record, frozen=True):
    """Over all cases and labels: the median and largest |change of logit|, and medians of the peak's way in mm."""

    method: str
    shift: tuple[int, int, int]
    n: int
    logit_median: float
    logit_largest: float
    peak_median_mm: dict[Placement, float]


class Verdict(_Record, frozen=True):
    """Which placement explains the drops better: null where the interval holds 0, or fills or windows disagree.

    `difference`: of correlations, stretch less receptive field; `reason`: in words.
    """

    placement: Placement | None
    method: str
    difference: Span | None
    reason: str


class RefereeFindings(_Record, frozen=True):
    """All of it.

    `exactness`: the largest error, relative to max(1, |logit|), of a check that is exact by construction: replacing a
    whole slice group changes the logit by the difference of its scores over the number of groups. Null without groups.
    """

    schema_version: Literal[1]
    model: str
    placement: Placement
    methods: tuple[str, ...]
    fills: tuple[str, ...]
    groups: int
    seed: int
    cases: int
    verdict: Verdict
    overall: tuple[Overall, ...]
    comparisons: tuple[Comparison, ...]
    labels: tuple[LabelAgreement, ...]
    drift: tuple[DriftSummary, ...]
    exactness: float | None
    agreements: tuple[Agreement, ...]
    drifts: tuple[Drift, ...]


def to_json(findings: RefereeFindings) -> bytes:
    """The findings as JSON."""
    return msgspec.json.format(msgspec.json.encode(findings), indent=1)
