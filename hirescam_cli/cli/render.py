"""`hirescam render` and `hirescam report`: pictures and pages from finished cases, without the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hirescam_cli.cli.options import Given, setup_streams, with_options
from hirescam_cli.errors import ExitCode, HirescamError, NoInputError, UsageError

if TYPE_CHECKING:
    from hirescam_cli.masks.collection import MaskProblem

Scans = Annotated[
    list[str] | None,
    typer.Option(
        "--scan", metavar="INPUT", help="Scan file or folder of scans; repeatable. Recognised by content."
    ),
]


@with_options(
    "config", "method", "labels", "threshold", "placement", "grid", "format", "signed", "seg-fraction", "cells",
    "compress", "masks", "mask-labels", "outline", "quiet",
    panels=False,
    defaults={"method": None},
    helps={
        "labels": "Labels to draw.",
        "method": "Of those that the case holds; repeatable. [default: all]",
        "threshold": "What counts as positive. [default: the case's]",
        "placement": "Where cells lie. [default: the case's]",
        "signed": "Show negative evidence too.",
        "masks": "Outline each label's mask: a folder or a file of masks for each case, named after it.",
    },
)  # fmt: skip
def render_command(
    cases: Annotated[list[Path], typer.Argument(metavar="CASE...", help="Folders of finished cases.")],
    given: Given,
    scan: Scans = None,
) -> None:
    """Make other overlays, pictures and pages from finished cases and their scans, without the network."""
    quiet = given["quiet"]
    setup_streams(quiet=quiet, verbose=0)
    from hirescam_cli.cli.inputs import parse_inputs
    from hirescam_cli.io.scan import ReadOptions
    from hirescam_cli.library import ScanLibrary
    from hirescam_cli.outlining import OutlineOptions, find_outlines
    from hirescam_cli.rendering import RenderOptions, at_work_on, case_names, render_case

    options = given.make(RenderOptions)
    if not scan:
        raise UsageError("render needs the scans.", hint="Name their file or folder with --scan.")
    for folder in cases:
        if not folder.is_dir():
            raise NoInputError(f"{folder} is not a folder.", hint="Give folders of finished cases.")
    library = ScanLibrary(parse_inputs(scan), ReadOptions())
    folders = [folder.resolve() for folder in cases]
    outlines = find_outlines(given.make(OutlineOptions), case_names(folders))
    unusable = list(outlines.problems) if outlines is not None else []
    failures = 0
    with at_work_on(folders):
        for folder in cases:
            try:
                case, problems = render_case(folder.resolve(), library, options, outlines)
            except HirescamError as error:
                if len(cases) == 1 or error.exit_code != ExitCode.BAD_DATA:
                    raise
                failures += 1
                typer.echo(f"{folder}: {error}", err=True)
                continue
            unusable += problems
            if not quiet:
                typer.echo(f"{folder}: {len(case.outputs)} files")
    for problem in unusable:
        typer.echo(problem.text, err=True)
    if unusable and not failures:
        raise typer.Exit(ExitCode.SOME_FAILED)
    if failures:
        raise typer.Exit(ExitCode.BAD_DATA if failures == len(cases) else ExitCode.SOME_FAILED)


@with_options(
    "masks", "mask-labels", "outline", "quiet",
    panels=False,
    helps={"masks": "Outline masks on the pages: a folder or a file for each case, named after it."},
)  # fmt: skip
def report_command(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder of a run.")],
    given: Given,
    scan: Scans = None,
    index: Annotated[
        bool, typer.Option("--index", metavar="", help="Only index and tables, no pages.")
    ] = False,
) -> None:
    """Write one self-contained HTML page per case that has none yet (needs --scan), and the index of all cases.

    With --masks pages of cases that have masks are made anew.
    """
    quiet = given["quiet"]
    setup_streams(quiet=quiet, verbose=0)
    from hirescam_cli.cli.inputs import parse_inputs
    from hirescam_cli.io.scan import ReadOptions
    from hirescam_cli.library import ScanLibrary
    from hirescam_cli.outlining import OutlineOptions
    from hirescam_cli.reporting import add_pages, cases_without_page, outlines_for, write_indexes

    if not output.is_dir():
        raise NoInputError(f"{output} is not a folder.", hint="Give the output folder of hirescam explain.")
    options = given.make(OutlineOptions)
    if options.masks is not None and not scan:
        raise UsageError("--masks needs the scans.", hint="Name their file or folder with --scan.")
    failures: list[tuple[Path, HirescamError]] = []
    problems: list[MaskProblem] = []
    outlines = outlines_for(output, options)
    without = [] if index else cases_without_page(output, outlines)
    if scan:
        failures, problems = add_pages(without, ScanLibrary(parse_inputs(scan), ReadOptions()), outlines)
    elif without:
        typer.echo(
            f"{len(without)} cases have no page: give their scans with --scan INPUT, or use explain --format html.",
            err=True,
        )
    for folder, error in failures:
        typer.echo(f"{folder}: {error}", err=True)
    for problem in problems:
        typer.echo(problem.text, err=True)
    write_indexes(output)
    if not quiet:
        typer.echo(str(output / "index.html"))
    if failures or problems:
        raise typer.Exit(ExitCode.SOME_FAILED)
