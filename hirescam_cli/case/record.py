"""The case: what summary.json says, as frozen records. Its JSON Schema is made from them and ships beside this module.

Units are millimetres, Hounsfield units, the unit of each method (logits per cell), MiB and seconds; affines map an
index to RAS mm; unknown values are null, never NaN.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from hirescam_cli.choices import Grid
from hirescam_cli.errors import HirescamError
from hirescam_cli.placement import Placement
from hirescam_cli.warning import Warning

SCHEMA_VERSION = 2

Sha256: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Fraction: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Size: TypeAlias = Annotated[int, Meta(ge=1)]
Positive: TypeAlias = Annotated[float, Meta(gt=0.0)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0.0)]
Point: TypeAlias = tuple[float, float, float]
Index: TypeAlias = tuple[int, int, int]
Shape: TypeAlias = tuple[Size, Size, Size]
Row: TypeAlias = tuple[float, float, float, float]
Matrix: TypeAlias = tuple[Row, Row, Row, Row]
Setting: TypeAlias = str | int | float | bool | tuple[str, ...] | None
Time: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Certificate: TypeAlias = Literal["exact", "frozen", "none"]
Role: TypeAlias = Literal["cams", "overlay", "picture", "animation", "page", "dicom"]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen record whose keys are all written and none other is read."""


class CaseError(_Record, frozen=True, kw_only=True):
    """Why a case failed: `code` is stable, `stage` where it arose, `message` what is wrong, `hint` what to do."""

    code: str
    stage: str
    message: str
    hint: str | None

    @staticmethod
    def of(error: HirescamError) -> CaseError:
        """That of an exception."""
        return CaseError(code=error.code, stage=error.stage, message=error.message, hint=error.hint)


class Input(_Record, frozen=True, kw_only=True):
    """What was read. `volume`: which, where one input holds several; `orientation`: where its axes run ("LPS")."""

    kind: str
    fingerprint: Sha256
    volume: Count
    shape: Shape
    spacing_mm: tuple[Positive, Positive, Positive]
    affine: Matrix
    orientation: Annotated[str, Meta(pattern="^[RLAPIS]{3}$")]
    series_uid: Annotated[str, Meta(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$")] | None
    hu_min: float
    hu_max: float


class Model(_Record, frozen=True, kw_only=True):
    """Which network answered. `file_sha256`: of its description; `labels`: how many it has.

    `members`: SHA-256 of each member's weights, for an ensemble; `weights_sha256` is that of these, one a line.
    """

    name: str
    architecture: str
    weights_sha256: Sha256 | None
    file_sha256: Sha256 | None
    labels: Size
    demonstration: bool
    members: tuple[Sha256, ...]


class Seconds(_Record, frozen=True, kw_only=True):
    """How long each stage took."""

    read: NotNegative | None = None
    prepare: NotNegative | None = None
    network: NotNegative | None = None
    explain: NotNegative | None = None
    write: NotNegative | None = None
    total: NotNegative | None = None


class DriftFound(_Record, frozen=True, kw_only=True):
    """How far the precision in effect moved logits, and cells of maps as a share of the map's maximum."""

    logits: NotNegative
    maps: NotNegative


class Run(_Record, frozen=True, kw_only=True):
    """How it was computed. `precision`: in effect; `params_hash`: over everything that decides a case's content."""

    version: str
    torch: str
    device: str
    device_requested: str
    precision: str
    precision_requested: str
    drift: DriftFound | None
    fallbacks: tuple[str, ...]
    params_hash: Sha256
    settings: dict[str, Setting]
    peak_memory_mib: NotNegative | None
    seconds: Seconds


class Coverage(_Record, frozen=True, kw_only=True):
    """Share of the scan's voxels that the network saw; share of its input that is padding."""

    scan_seen_fraction: Fraction
    padding_fraction: Fraction


class Seen(_Record, frozen=True, kw_only=True):
    """The network's input: its voxels, where they lie, and between which HU it tells values apart."""

    shape: Shape
    affine: Matrix
    window_hu: tuple[float, float]


class Target(_Record, frozen=True, kw_only=True):
    """What was explained: `cells` of a map along the axes of the network's input; `affines`: by placement."""

    layer: str
    at: Literal["output", "input"]
    cells: Shape
    affines: dict[Placement, Matrix]


class MethodFacts(_Record, frozen=True, kw_only=True):
    """A method of this case. `certificate`: whether its maps account for the logits: "exact", "frozen" or "none"."""

    title: str
    unit: str
    certificate: Certificate
    frozen: tuple[str, ...]


class Peak(_Record, frozen=True, kw_only=True):
    """The largest cell: value, centre, and the scan's voxel nearest to it (null: outside)."""

    value: float
    index_ijk: Index | None
    world_mm: Point


class MapEvidence(_Record, frozen=True, kw_only=True):
    """A map in numbers: `sum` is the map part and `bias` the bias part of the logit.

    `residual` = |sum + bias - logit| / max(1, |logit|); `complete`: it is at most 1e-4. `padding_share`: of the
    absolute evidence.
    """

    sum: float
    bias: float
    residual: NotNegative
    complete: bool
    positive_sum: NotNegative
    negative_sum: Annotated[float, Meta(le=0.0)]
    padding_share: Fraction
    peak: Peak


class Agreement(_Record, frozen=True, kw_only=True):
    """Of the first two methods: correlation of their maps (null if one is constant), distance of their peaks in mm."""

    correlation: Annotated[float, Meta(ge=-1.0, le=1.0)] | None
    peak_distance_mm: NotNegative


class LabelCode(_Record, frozen=True, kw_only=True):
    """What a label is in a coding scheme ("SCT", "RADLEX"): its value there, and what it means in words."""

    scheme: str
    value: str
    meaning: str


class Label(_Record, frozen=True, kw_only=True):
    """A label of the model with the network's answer and the evidence of each method's map.

    `probability`: the sigmoid of the logit; of an ensemble the mean of its members' probabilities. `member_logits`: of
    an ensemble, whose logit is their mean; else null.
    """

    name: str
    index: Count
    slug: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$")]
    logit: float
    probability: Fraction
    threshold: Fraction
    positive: bool
    member_logits: tuple[float, ...] | None
    slice_scores: tuple[float, ...] | None
    maps: dict[str, MapEvidence]
    agreement: Agreement | None
    code: LabelCode | None = None


class Output(_Record, frozen=True, kw_only=True):
    """A file of the case folder: `path` relative to it, what it shows, SHA-256 and size."""

    path: Annotated[str, Meta(min_length=1)]
    role: Role
    format: str
    method: str | None
    label: str | None
    placement: Placement | None
    grid: Grid | None
    sha256: Sha256
    bytes: Count


class Case(_Record, frozen=True, kw_only=True, tag_field="status", tag="ok"):
    """A finished case."""

    schema_version: Literal[2]
    case: str
    started: Time
    error: None
    warnings: tuple[Warning, ...]
    input: Input
    model: Model
    run: Run
    coverage: Coverage
    seen: Seen
    target: Target
    placement: Placement
    methods: dict[str, MethodFacts]
    labels: Annotated[tuple[Label, ...], Meta(min_length=1)]
    outputs: tuple[Output, ...]

    def label(self, name: str) -> Label:
        """One label. Raises KeyError for a name that the model does not have."""
        for label in self.labels:
            if label.name == name:
                return label
        raise KeyError(name)

    @property
    def ranked(self) -> list[Label]:
        """The labels, most probable first (by logit)."""
        return sorted(self.labels, key=lambda label: (-label.logit, label.index))

    def outputs_of(self, method: str, label: str, role: Role) -> list[Output]:
        """The files of one map, under the case's own placement before others."""
        found = [o for o in self.outputs if (o.method, o.label, o.role) == (method, label, role)]
        return sorted(found, key=lambda output: output.placement != self.placement)


class FailedCase(_Record, frozen=True, kw_only=True, tag_field="status", tag="failed"):
    """A case that failed, and why; what is null was not known by then."""

    schema_version: Literal[2]
    case: str
    started: Time | None
    error: CaseError
    warnings: tuple[Warning, ...] = ()
    input: None = None
    model: Model | None = None
    run: Run | None = None
    coverage: None = None
    seen: None = None
    target: None = None
    placement: None = None
    methods: None = None
    labels: Annotated[tuple[Label, ...], Meta(max_length=0)] = ()
    outputs: Annotated[tuple[Output, ...], Meta(max_length=0)] = ()


AnyCase: TypeAlias = Case | FailedCase
