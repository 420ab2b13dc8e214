"""What a run would read: each scan under the INPUTs, its geometry, values and coverage. Loads no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from hirescam_cli.case.document import plain
from hirescam_cli.case.record import CaseError, Coverage, Matrix
from hirescam_cli.case.view import matrix
from hirescam_cli.errors import ExitCode, HirescamError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.identifiers import Identifiers
from hirescam_cli.io import Discovery, Ignored, InputPath, ReadOptions, discover, read
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.prepare import coverage
from hirescam_cli.volume import Volume
from hirescam_cli.warning import Warning

SCHEMA_VERSION = 2

Say = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """What is known of a scan that was looked at; None where it was refused before that was known.

    `slices`: voxels along the axis nearest to the patient's long one.
    """

    case: str
    name: str
    kind: str
    files: int
    status: Literal["ok", "refused"] = "ok"
    error: CaseError | None = None
    series_uid: str | None = None
    fingerprint: str | None = None
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    affine: Matrix | None = None
    orientation: str | None = None
    obliquity_degrees: float | None = None
    slices: int | None = None
    hu_min: float | None = None
    hu_max: float | None = None
    coverage: Coverage | None = None
    warnings: tuple[Warning, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """The findings about each scan, and the objects left out."""

    model: str
    scans: tuple[Found, ...]
    ignored: tuple[Ignored, ...]

    @property
    def exit_code(self) -> int:
        """As of `explain`: 66 if no scan was found, 65 if none is usable, 8 if some are not, else 0."""
        usable = sum(scan.status == "ok" for scan in self.scans)
        if not self.scans and not any(item.is_image for item in self.ignored):
            return ExitCode.NO_INPUT
        if not usable:
            return ExitCode.BAD_DATA
        return ExitCode.OK if usable == len(self.scans) else ExitCode.SOME_FAILED

    def document(self) -> dict[str, object]:
        """All of it as one JSON document."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "scans": [plain(scan) for scan in self.scans],
            "ignored": [{"name": i.name, "code": i.code, "reason": i.reason} for i in self.ignored],
        }


def inspect_inputs(
    inputs: Sequence[InputPath],
    options: ReadOptions,
    spec: ModelSpec,
    identifiers: Identifiers = "uids",
    say: Say = lambda _text: None,
) -> Inspection:
    """Find and read every scan; a scan that is refused keeps its place, with the error. `say` is told what comes next.

    Raises NoInputError for a path that does not exist.
    """
    say("searching")
    found = discover(inputs, options, identifiers)
    return Inspection(spec.name, tuple(inspect_scans(found, options, spec, say)), found.ignored)


def inspect_scans(
    found: Discovery, options: ReadOptions, spec: ModelSpec, say: Say = lambda _text: None
) -> Iterator[Found]:
    """The finding about each scan, one after the other; only one volume is in memory at a time."""
    names = Counter(scan.case for scan in found.scans)
    for number, scan in enumerate(found.scans, 1):
        say(f"reading {number} of {len(found.scans)}: {scan.name}")
        entry = Found(scan.case, scan.name, scan.kind, len(scan.files), series_uid=scan.series_uid)
        try:
            entry = _with_facts(entry, read(scan, options), spec)
        except HirescamError as error:
            entry = replace(entry, status="refused", error=CaseError.of(error))
        if names[scan.case] > 1:
            text = f"{names[scan.case]} scans would be the case {scan.case}; give ids by id=path."
            entry = replace(entry, warnings=(*entry.warnings, Warning("case-clash", text)))
        yield entry


def _with_facts(entry: Found, volume: Volume, spec: ModelSpec) -> Found:
    towards = affines.nearest_axes(volume.affine_ras)
    axial = next(axis for axis, (world, _) in enumerate(towards) if world == 2)
    seen = coverage(volume, spec.preparation)
    return replace(
        entry,
        kind=volume.provenance.kind,
        fingerprint=volume.provenance.fingerprint,
        shape=volume.grid.shape,
        spacing_mm=volume.spacing_mm,
        affine=matrix(volume.affine_ras),
        orientation=volume.orientation,
        obliquity_degrees=affines.obliquity_degrees(volume.affine_ras),
        slices=volume.grid.shape[axial],
        hu_min=float(volume.array_ijk.min()),
        hu_max=float(volume.array_ijk.max()),
        coverage=msgspec.convert(vars(seen), Coverage),
        warnings=volume.provenance.warnings,
    )
