"""`render` from Python: further overlays, pictures and pages of finished cases, without the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import overload

from hirescam_cli.api.explaining import Inputs, given
from hirescam_cli.api.models import PathName
from hirescam_cli.api.options import by_name, path_given
from hirescam_cli.api.results import Result
from hirescam_cli.api.scans import ScanImage
from hirescam_cli.io import InputPath, ReadOptions
from hirescam_cli.library import ScanLibrary
from hirescam_cli.option_values import made
from hirescam_cli.rendering import RenderOptions, at_work_on, render_case

Cases = Sequence[Result | PathName]


@overload
def render(  # type: ignore[overload-overlap]
    cases: Result | PathName, scan: Inputs | ScanImage, **named: object
) -> Result: ...


@overload
def render(cases: Cases, scan: Inputs | ScanImage, **named: object) -> list[Result]: ...


def render(
    cases: Result | PathName | Cases, scan: Inputs | ScanImage, **named: object
) -> Result | list[Result]:
    """Add new files to finished cases and return them: one for one, a list for a list.

    `cases`: results, or case folders. `scan`: the scans, or folders where they are found by their content. `named`:
    options of `hirescam render` with underscores (`labels`, `method`, `threshold`, `placement`, `grid`, `format`,
    `signed`, `cells`, `compress`). Raises ScanError, UsageError, OutputCreateError or OutputIOError.
    """
    options = made(RenderOptions, by_name("render", named, RenderOptions))
    inputs = [InputPath(scan.path)] if isinstance(scan, ScanImage) else given("render", scan)
    library = ScanLibrary(inputs, ReadOptions())
    alone = isinstance(cases, Result | str | PathLike)
    wanted: Cases = (
        [cases] if isinstance(cases, Result | str | PathLike) or not isinstance(cases, Iterable) else cases
    )
    folders = [
        (case.folder if isinstance(case, Result) else path_given("render", "a case", case)).resolve()
        for case in wanted
    ]
    with at_work_on(folders):
        results = [Result(folder, render_case(folder, library, options)[0]) for folder in folders]
    return results[0] if alone else results
