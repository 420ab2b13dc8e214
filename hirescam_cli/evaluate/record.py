"""What evaluation.json says, as frozen records. Its JSON Schema is made from them and ships beside this module.

Means have 95 % intervals over patients (percentile bootstrap), null with fewer than 5 patients; unknown values are
null, never NaN. Distances are millimetres, evidence is in the unit of the method's map.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

SCHEMA_VERSION = 1

Group: TypeAlias = Literal["true_positives", "present"]
Sha256: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Fraction: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
OptionValue: TypeAlias = str | int | float | bool | tuple[str, ...] | None
Count: TypeAlias = Annotated[int, Meta(ge=0)]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A frozen record whose keys are all written and none other is read."""


class Figure(_Record, frozen=True):
    """A mean over `n` figures of so many patients, and its interval."""

    mean: float
    low: float | None
    high: float | None
    n: Count
    patients: Count


class Counts(_Record, frozen=True):
    """The cases of a label whose truth is known. `unmarked`: it is there, without a mask; `empty`: an empty mask;
    `out_of_view`: the network saw less than half of the mask. `auroc`, `sensitivity`, `specificity`: of the network."""

    label: str
    known: Count
    true_positives: Count
    false_negatives: Count
    false_positives: Count
    true_negatives: Count
    unmarked: Count
    empty: Count
    out_of_view: Count
    auroc: Fraction | None
    sensitivity: Fraction | None
    specificity: Fraction | None
    false_positive_logit: float | None


class LabelResult(_Record, frozen=True):
    """The explanations of a label by one method under one placement, over the pairs of a group whose mask serves.

    `no_evidence`: pairs whose map is nowhere positive. `measures`: by name, those that are defined.
    """

    label: str
    method: str
    placement: str
    group: Group
    n: Count
    patients: Count
    no_evidence: Count
    distance_median_mm: float | None
    measures: dict[str, Figure]


class Overall(_Record, frozen=True):
    """The same over all labels: each "label" counts alike, or each "pair" of case and label, as in the papers."""

    over: Literal["labels", "pairs"]
    method: str
    placement: str
    group: Group
    labels: Count
    measures: dict[str, Figure]


class Difference(_Record, frozen=True):
    """Paired difference a - b over the pairs that both have.

    `what`: two "methods" (`method` is then null), two "placements" (`placement` is), or two "runs". `label`: null over
    all labels (`over` says how). `p`: sign-flip permutation test by patient; `p_holm`: adjusted over the labels.
    """

    what: Literal["methods", "placements", "runs"]
    over: Literal["label", "labels", "pairs"]
    label: str | None
    group: Group
    method: str | None
    placement: str | None
    measure: str
    a: str
    b: str
    difference: Figure
    p: Fraction | None
    p_holm: Fraction | None


class RegionShare(_Record, frozen=True):
    """How many logits a region gave to a label, over its true positives."""

    label: str
    method: str
    placement: str
    region: str
    logits: Figure


class PaperResult(_Record, frozen=True):
    """The papers' measures over true positives. Thresholds were chosen on the pairs of `tuned_on`.

    `organ_precision`: as it should be; `organ_precision_authors`: with their error (a flawless map scores 0);
    `chance`: share of the cells that are allowed; `iou`: Otsu's cut at full resolution, beside its `iou_ceiling`.
    """

    label: str
    method: str
    placement: str
    n: Count
    tuned_on: Literal["valid", "the same pairs"]
    threshold: float | None
    organ_precision: Fraction | None
    threshold_authors: float | None
    organ_precision_authors: Fraction | None
    chance: Fraction | None
    iou: Fraction | None
    iou_ceiling: Fraction | None


class ModelFacts(_Record, frozen=True):
    """A network whose cases were evaluated."""

    name: str
    weights_sha256: Sha256 | None
    demonstration: bool
    cases: Count


class MaskFacts(_Record, frozen=True):
    """A mask that was used. `path`: relative to the masks' folder."""

    case: str
    name: str
    path: str
    sha256: Sha256


class Problem(_Record, frozen=True):
    """A mask or a case that could not be used, and why."""

    path: str
    code: str
    text: str


class CaseCounts(_Record, frozen=True):
    """Cases found, finished, with masks; and the patients that they are of."""

    found: Count
    finished: Count
    with_masks: Count
    patients: Count


class Evaluation(_Record, frozen=True):
    """An evaluation. `inputs_hash`: over options, cases, tables and masks; `unused_masks`: names that are no label.

    `unused_columns`: those of the table of labels that are no label.
    """

    schema_version: Literal[1]
    version: str
    inputs_hash: Sha256
    options_hash: Sha256
    options: dict[str, OptionValue]
    models: tuple[ModelFacts, ...]
    cases: CaseCounts
    methods: dict[str, str]
    placements: tuple[str, ...]
    regions: tuple[str, ...]
    counts: tuple[Counts, ...]
    results: tuple[LabelResult, ...]
    overall: tuple[Overall, ...]
    differences: tuple[Difference, ...]
    ledger: tuple[RegionShare, ...]
    papers: tuple[PaperResult, ...]
    unused_masks: tuple[str, ...]
    unused_columns: tuple[str, ...]
    problems: tuple[Problem, ...]
    masks: tuple[MaskFacts, ...]
