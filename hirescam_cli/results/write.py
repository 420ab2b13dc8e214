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


def formats_of(names: Sequence[str]) -> list[ResultFormat]:
    """The formats called so. Raises UsageError for one that is not known or lacks what it needs."""
    found = [RESULT_FORMATS.find(name) for name in names]
    for entry in found:
        for module in entry.needs:
            if find_spec(module) is None:
                raise UsageError(
                    f"--format {entry.name} needs {module}, which is not installed.",
                    hint=f"pip install {module}",
                    code="format-unavailable",
                )
    return found


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
