"""Writing a case in the formats that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from hirescam_cli.case.record import Output
from hirescam_cli.durable import read_back
from hirescam_cli.errors import UsageError
from hirescam_cli.placement import Placement
from hirescam_cli.registries import RESULT_FORMATS
from hirescam_cli.results.format import Made, Request, ResultFormat
from hirescam_cli.threads import in_threads
from hirescam_cli.volume import Volume

INSTALL = "'hirescam-cli[{}]'"


def formats_of(names: Sequence[str]) -> list[ResultFormat]:
    """The formats called so. Raises UsageError for one that is not known or lacks what it needs."""
    found = [RESULT_FORMATS.find(name) for name in names]
    for entry in found:
        for module in entry.needs:
            if find_spec(module) is None:
                raise UsageError(
                    f"--format {entry.name} needs {module}, which is not installed.",
                    hint=f"pip install {module if entry.extra is None else INSTALL.format(entry.extra)}",
                    code="format-unavailable",
                )
    return found


def check_identifiers(formats: Sequence[str], identifiers: object) -> None:
    """Raise UsageError where results that name the scan's series and patient are asked for, and no identifiers."""
    for entry in formats_of(formats):
        if entry.dicom and identifiers == "none":
            raise UsageError(
                f"--format {entry.name} makes objects of the patient's study, and --identifiers none tells nothing of "
                "it.",
                hint="Explain without --identifiers none, or leave the format out.",
                code="dicom-identifiers",
            )


def check_kinds(formats: Sequence[str], kinds: Sequence[str]) -> None:
    """Raise UsageError where results need DICOM series and none of the scans, of these `kinds`, is one."""
    known = sorted({kind for kind in kinds if kind not in ("unknown", "refused")})
    if not known or any(kind.startswith("dicom") for kind in known):
        return
    for entry in formats_of(formats):
        if entry.dicom:
            raise UsageError(
                f"--format {entry.name} refers to the DICOM series of a scan, and no scan given is DICOM: "
                f"{', '.join(known)}.",
                hint="Give the DICOM series, or leave the format out.",
                code="dicom-no-source",
            )


def check_volume(formats: Sequence[str], volume: Volume) -> None:
    """Raise ScanError where one of the formats cannot be written of this scan."""
    for entry in formats_of(formats):
        if entry.check is not None:
            entry.check(volume)


def write_results(formats: Sequence[str], request: Request) -> list[Output]:
    """Write `request` in the formats called so; what was written, in that order."""
    outputs: list[Output] = []
    for entry in formats_of(formats):
        outputs += told(request.folder, entry.name, entry.write(request))
    return outputs


def told(folder: Path, name: str, made: Sequence[Made]) -> list[Output]:
    """Files of the format `name` as the record holds them; what was not read back yet is read back here."""
    fresh = [one for one in made if one.written is None]
    found = dict(
        zip(
            (one.path for one in fresh),
            in_threads(read_back, [folder / one.path for one in fresh]),
            strict=True,
        )
    )
    outputs = []
    for one in made:
        written = one.written or found[one.path]
        outputs.append(
            Output(
                path=one.path,
                role=one.role,
                format=name,
                method=one.method,
                label=one.label,
                placement=cast(Placement | None, one.placement),
                grid=one.grid,
                sha256=written.sha256,
                bytes=written.size,
            )
        )
    return outputs
