"""`hirescam inspect`: what would be read, without loading the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import typer

from hirescam_cli.cli.options import Given, Inputs, setup_streams, with_options
from hirescam_cli.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from hirescam_cli.case.record import CaseError
    from hirescam_cli.inspection import Found, Inspection

_ROWS_OF_A_KIND = 5
_COLUMNS = ("case", "kind", "size", "spacing mm", "axes", "slices", "HU", "seen", "padding", "warnings")


@with_options(
    "config",
    "model", "series", "prefer", "assume-affine", "allow-gaps", "max-voxels", "identifiers", "json", "verbose",
    helps={
        "model": "The model whose coverage is reported.",
        "json": "Print one JSON document instead of tables.",
    },
)  # fmt: skip
def inspect_command(inputs: Inputs, given: Given) -> None:
    """Show what would be read: each scan, its geometry, values and coverage, and what is left out and why."""
    setup_streams(quiet=False, verbose=given["verbose"])
    from hirescam_cli.cli.console import print_json, stdout, working
    from hirescam_cli.cli.inputs import parse_inputs
    from hirescam_cli.inspection import inspect_inputs
    from hirescam_cli.io.scan import ReadOptions
    from hirescam_cli.model.spec import load_spec

    options, spec = given.make(ReadOptions), load_spec(given["model"])
    with working() as say:
        found = inspect_inputs(parse_inputs(inputs), options, spec, given["identifiers"], say)
    if given["json"]:
        print_json(found.document())
    else:
        render(found, stdout())
    if found.exit_code != ExitCode.OK:
        raise typer.Exit(found.exit_code)


def render(found: Inspection, console: Console) -> None:
    """Print the findings as tables: scans, then, summed up, their warnings, refusals and what was left out."""
    from rich.text import Text

    from hirescam_cli.cli.console import print_table, table

    usable = [scan for scan in found.scans if scan.status == "ok"]
    if usable:
        title = f"Scans ({len(usable)}), coverage under {found.model}"
        scans = table(*_COLUMNS, title=title, right=("slices", "seen", "padding"), names=("case",))
        for scan in usable:
            scans.add_row(*(Text(cell) for cell in _cells(scan)))
        print_table(console, scans)
    warnings = [
        _Row(scan.case, warning.code, (str(warning),)) for scan in found.scans for warning in scan.warnings
    ]
    refused = [_refusal(scan.name, scan.error) for scan in found.scans if scan.error is not None]
    left_out = [
        _Row(item.name, item.code, (_without(item.name, item.reason), item.code)) for item in found.ignored
    ]
    counts = len(warnings), len(refused), len(left_out)
    warnings, refused, left_out = (_summed_up(rows) for rows in (warnings, refused, left_out))
    for title, columns, rows in (
        (f"Warnings ({counts[0]})", ("case", "warning"), warnings),
        (f"Refused ({counts[1]})", ("scan", "why", "what to do", "code"), refused),
        (f"Left out ({counts[2]})", ("object", "why", "code"), left_out),
    ):
        if rows:
            part = table(*columns, title=title, names=columns[:1])
            for row in rows:
                part.add_row(*(Text(cell) for cell in (row.name, *row.cells)))
            console.print()
            print_table(console, part)
    if not found.scans:
        console.print("No scan was found.")


@dataclass(frozen=True)
class _Row:
    """A row about the object `name`: rows of one folder with one `code` may be summed up."""

    name: str
    code: str
    cells: tuple[str, ...]


def _refusal(name: str, error: CaseError) -> _Row:
    return _Row(name, error.code, (_without(name, error.message), error.hint or "", error.code))


def _summed_up(rows: list[_Row]) -> list[_Row]:
    """The rows in their order; more than a few of one folder and code as one, in the place of the first."""
    from hirescam_cli.io.names import by_folder

    result: list[_Row] = []
    for folder, group in by_folder(rows):
        if len(group) <= _ROWS_OF_A_KIND:
            result.extend(group)
            continue
        first = group[0]
        name = f"{len(group)} in {'this folder' if folder == '.' else folder}"
        cells = (f"such as {PurePosixPath(first.name).name}: {first.cells[0]}", *first.cells[1:])
        result.append(_Row(name, first.code, cells))
    return result


def _without(name: str, sentence: str) -> str:
    """A sentence about an object without the object's name, which stands in the column before it."""
    return sentence.removeprefix(name).lstrip(": ")


def _cells(scan: Found) -> list[str]:
    seen, shape, spacing = scan.coverage, scan.shape or (), scan.spacing_mm or ()
    return [
        scan.case,
        scan.kind,
        "x".join(str(n) for n in shape),
        " x ".join(f"{value:.3g}" for value in spacing),
        scan.orientation or "",
        str(scan.slices),
        f"{scan.hu_min:.6g} .. {scan.hu_max:.6g}",
        "" if seen is None else f"{100 * seen.scan_seen_fraction:.0f}%",
        "" if seen is None else f"{100 * seen.padding_fraction:.0f}%",
        ", ".join(dict.fromkeys(warning.code for warning in scan.warnings)),
    ]
