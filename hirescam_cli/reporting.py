"""Pages for the cases of an output folder that have none; the index, tables and contact sheets of all its cases."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.batch.index import write_index as write_tables
from hirescam_cli.batch.lock import output_lock
from hirescam_cli.case.listing import Listed, case_folders, iter_cases
from hirescam_cli.case.record import Case
from hirescam_cli.durable import write_file
from hirescam_cli.errors import ExitCode, HirescamError, NoInputError
from hirescam_cli.library import ScanLibrary
from hirescam_cli.masks.collection import MaskProblem
from hirescam_cli.outlining import OutlineOptions, Outlines, find_outlines
from hirescam_cli.page import index_text
from hirescam_cli.page.index import first_picture
from hirescam_cli.rendering import RenderOptions, at_work_on, render_case
from hirescam_cli.results.html import PAGE

SHEET = "contact-sheet"
_SHEET_NAME = re.compile(rf"{SHEET}(-\d+)?\.png")


def cases_without_page(out: Path, outlines: Outlines | None = None) -> list[Path]:
    """The folders of finished cases below `out` that have no page, or masks that it may not show yet."""
    return [
        out / listed.folder
        for listed in iter_cases(out)
        if isinstance(listed.case, Case)
        and (
            not (out / listed.folder / PAGE).is_file()
            or (outlines is not None and outlines.collection.of(listed.case.case) is not None)
        )
    ]


def outlines_for(out: Path, options: OutlineOptions) -> Outlines | None:
    """The masks of the cases below `out`; see `find_outlines`."""
    return find_outlines(options, [one.case.case for one in iter_cases(out) if isinstance(one.case, Case)])


def add_pages(
    folders: Sequence[Path], library: ScanLibrary, outlines: Outlines | None = None
) -> tuple[list[tuple[Path, HirescamError]], list[MaskProblem]]:
    """Give these cases their page; those for which that failed, and why, and the masks that could not be outlined.

    Raises what concerns more than one case: OutputCreateError (also where a run is at work), OutputIOError.
    """
    failures: list[tuple[Path, HirescamError]] = []
    problems = [] if outlines is None else list(outlines.problems)
    folders = [folder.resolve() for folder in folders]
    with at_work_on(folders):
        for folder in folders:
            try:
                problems += render_case(folder, library, RenderOptions(formats=("html",)), outlines)[1]
            except HirescamError as error:
                if error.exit_code != ExitCode.BAD_DATA:
                    raise
                failures.append((folder, error))
    return failures, problems


def write_indexes(out: Path) -> None:
    """Rebuild batch.json, predictions.csv, log.jsonl, index.html and the contact sheets from the cases below `out`.

    Raises NoInputError if there are none, OutputCreateError or OutputIOError.
    """
    if not case_folders(out):
        raise NoInputError(
            f"{out} holds no case of hirescam.", hint="Give the output folder of hirescam explain."
        )
    with output_lock(out, None):
        write_tables(out)
        write_file(out / "index.html", index_text(out, iter_cases(out)).encode("utf-8"))
        write_contact_sheets(out)


def write_contact_sheets(out: Path) -> list[Path]:
    """Write contact-sheet.png (and -2, -3, ... where there are many cases) from the pictures that the cases have.

    Sheets of an earlier, longer run are removed. Raises OutputCreateError or OutputIOError.
    """
    # matplotlib takes half a second to import.
    from hirescam_cli.pictures.canvas import write_png
    from hirescam_cli.pictures.contact import CASES_A_SHEET, contact_of, render_contact_sheet

    count = len(case_folders(out))
    sheets = -(-count // CASES_A_SHEET)
    written: list[Path] = []
    cases = iter_cases(out)
    for sheet in range(1, sheets + 1):
        contacts = [
            contact_of(listed.case.case or listed.folder, listed.case, _picture(out, listed))
            for listed in islice(cases, CASES_A_SHEET)
        ]
        if not contacts:
            break
        encoded = io.BytesIO()
        write_png(render_contact_sheet(contacts, sheet=sheet, sheets=sheets), encoded)
        written.append(out / (f"{SHEET}.png" if sheet == 1 else f"{SHEET}-{sheet}.png"))
        write_file(written[-1], encoded.getvalue())
    for old in out.glob(f"{SHEET}*.png"):
        if old not in written and _SHEET_NAME.fullmatch(old.name):
            old.unlink()
    return written


def _picture(out: Path, listed: Listed) -> NDArray[np.uint8] | None:
    """The picture of a case's most probable label, by value; None where there is none that can be read."""
    from PIL import Image

    name = first_picture(listed.case)
    if name is None or ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
        return None
    try:
        with Image.open(out / listed.folder / name) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError):
        return None
