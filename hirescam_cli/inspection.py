"""What a run would read: each scan under the INPUTs, its geometry, values and coverage. Loads no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hirescam_cli.errors import ExitCode, HirescamError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io import Discovery, Ignored, InputPath, ReadOptions, Scan, discover, read
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.options import Identifiers
from hirescam_cli.prepare import coverage
from hirescam_cli.volume import Volume

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Inspection:
    """The findings about each scan (`scans`, plain data) and each object left out (`ignored`)."""

    model: str
    scans: tuple[dict[str, Any], ...]
    ignored: tuple[dict[str, str], ...]

    @property
    def exit_code(self) -> int:
        """As of `explain`: 66 if no scan was found, 65 if none is usable, 8 if some are not, else 0."""
        usable = sum(scan["status"] == "ok" for scan in self.scans)
        if not self.scans and not any(Ignored(**item).is_image for item in self.ignored):
            return ExitCode.NO_INPUT
        if not usable:
            return ExitCode.BAD_DATA
        return ExitCode.OK if usable == len(self.scans) else ExitCode.SOME_FAILED

    def document(self) -> dict[str, Any]:
        """All of it as one JSON document."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "scans": list(self.scans),
            "ignored": list(self.ignored),
        }


def inspect_inputs(
    inputs: Sequence[InputPath],
    options: ReadOptions,
    spec: ModelSpec,
    identifiers: Identifiers = "uids",
    say: Callable[[str], None] = lambda _text: None,
) -> Inspection:
    """Find and read every scan; a scan that is refused keeps its place, with the error. `say` is told what comes next.

    Raises NoInputError for a path that does not exist.
    """
    say("searching")
    found = discover(inputs, options, identifiers)
    scans = tuple(inspect_scans(found, options, spec, say))
    ignored = tuple({"name": item.name, "code": item.code, "reason": item.reason} for item in found.ignored)
    return Inspection(spec.name, scans, ignored)


def inspect_scans(
    found: Discovery,
    options: ReadOptions,
    spec: ModelSpec,
    say: Callable[[str], None] = lambda _text: None,
) -> Iterator[dict[str, Any]]:
    """The finding about each scan, one after the other; only one volume is in memory at a time."""
    names = Counter(scan.case for scan in found.scans)
    for number, scan in enumerate(found.scans, 1):
        say(f"reading {number} of {len(found.scans)}: {scan.name}")
        entry = _blank(scan)
        try:
            entry |= _facts(read(scan, options), spec)
        except HirescamError as error:
            entry["status"] = "refused"
            entry["error"] = {
                "code": error.code,
                "stage": error.stage,
                "message": error.message,
                "hint": error.hint,
            }
        if names[scan.case] > 1:
            clash = (
                f"case-clash: {names[scan.case]} scans would be the case {scan.case}; give ids by id=path."
            )
            entry["warnings"] = [*entry["warnings"], clash]
        yield entry


def _blank(scan: Scan) -> dict[str, Any]:
    return {
        "case": scan.case,
        "name": scan.name,
        "kind": scan.kind,
        "status": "ok",
        "error": None,
        "series_uid": scan.series_uid,
        "files": len(scan.files),
        "fingerprint": None,
        "shape": None,
        "spacing_mm": None,
        "affine": None,
        "orientation": None,
        "obliquity_degrees": None,
        "slices": None,
        "hu_min": None,
        "hu_max": None,
        "coverage": None,
        "warnings": [],
    }


def _facts(volume: Volume, spec: ModelSpec) -> dict[str, Any]:
    towards = affines.nearest_axes(volume.affine_ras)
    axial = next(axis for axis, (world, _) in enumerate(towards) if world == 2)
    seen = coverage(volume.grid, spec.preparation)
    return {
        "kind": volume.provenance.kind,
        "fingerprint": volume.provenance.fingerprint,
        "shape": list(volume.grid.shape),
        "spacing_mm": list(volume.spacing_mm),
        "affine": volume.affine_ras.tolist(),
        "orientation": volume.orientation,
        "obliquity_degrees": affines.obliquity_degrees(volume.affine_ras),
        "slices": volume.grid.shape[axial],
        "hu_min": float(volume.array_ijk.min()),
        "hu_max": float(volume.array_ijk.max()),
        "coverage": {
            "scan_seen_fraction": seen.scan_seen_fraction,
            "padding_fraction": seen.padding_fraction,
        },
        "warnings": list(volume.provenance.warnings),
    }
