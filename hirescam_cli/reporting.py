"""Pages for the cases of an output folder that have none, and the index and tables of all its cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hirescam_cli.batch.index import write_index as write_tables
from hirescam_cli.batch.lock import output_lock
from hirescam_cli.case.listing import case_folders, iter_cases
from hirescam_cli.case.record import Case
from hirescam_cli.durable import write_file
from hirescam_cli.errors import ExitCode, HirescamError, NoInputError
from hirescam_cli.library import ScanLibrary
from hirescam_cli.page import index_text
from hirescam_cli.rendering import RenderOptions, at_work_on, render_case
from hirescam_cli.results.html import PAGE


def cases_without_page(out: Path) -> list[Path]:
    """The folders of finished cases below `out` that have no page."""
    return [
        out / listed.folder
        for listed in iter_cases(out)
        if isinstance(listed.case, Case) and not (out / listed.folder / PAGE).is_file()
    ]


def add_pages(folders: Sequence[Path], library: ScanLibrary) -> list[tuple[Path, HirescamError]]:
    """Give these cases their page; returns those for which that failed, and why.

    Raises what concerns more than one case: OutputCreateError (also where a run is at work), OutputIOError.
    """
    failures: list[tuple[Path, HirescamError]] = []
    folders = [folder.resolve() for folder in folders]
    with at_work_on(folders):
        for folder in folders:
            try:
                render_case(folder, library, RenderOptions(formats=("html",)))
            except HirescamError as error:
                if error.exit_code != ExitCode.BAD_DATA:
                    raise
                failures.append((folder, error))
    return failures


def write_indexes(out: Path) -> None:
    """Rebuild batch.json, predictions.csv, log.jsonl and index.html from the cases below `out`.

    Raises NoInputError if there are none, OutputCreateError or OutputIOError.
    """
    if not case_folders(out):
        raise NoInputError(
            f"{out} holds no case of hirescam.", hint="Give the output folder of hirescam explain."
        )
    with output_lock(out, None):
        write_tables(out)
        write_file(out / "index.html", index_text(out, iter_cases(out)).encode("utf-8"))
