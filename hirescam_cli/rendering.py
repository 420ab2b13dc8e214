"""Making new overlays, pictures and pages from finished cases and their scans, without the network."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.batch.lock import output_lock
from hirescam_cli.batch.resume import read_summary
from hirescam_cli.errors import UsageError
from hirescam_cli.library import ScanLibrary
from hirescam_cli.output import summary
from hirescam_cli.output.cases import root_of
from hirescam_cli.output.durable import Written
from hirescam_cli.output.illustrate import PAGE, Illustration, draw_page, illustrate
from hirescam_cli.output.names import label_slugs
from hirescam_cli.output.overlays import write_overlays
from hirescam_cli.output.publish import CaseFolder, hash_outputs, sweep
from hirescam_cli.output.reload import FinishedCase, load_case
from hirescam_cli.settings import LabelChoice, check_shared


@dataclass(frozen=True)
class RenderOptions:
    """What to make; None takes what the case was explained with.

    `labels` as in `Settings`; `methods`: of those that the case holds; `threshold`: for "positive" labels.
    """

    labels: str = "positive"
    methods: tuple[str, ...] | None = None
    threshold: float | None = None
    placement: str | None = None
    grid: str = "scan"
    formats: tuple[str, ...] = ("nifti", "png")
    signed: bool = False
    smooth: bool = True
    compress: int = 1

    def __post_init__(self) -> None:
        check_shared(
            methods=self.methods,
            labels=self.labels,
            threshold=self.threshold,
            placement=self.placement,
            grid=self.grid,
            formats=self.formats,
        )


def render_case(folder: Path, library: ScanLibrary, options: RenderOptions) -> dict[str, Any]:
    """Add new files to a finished case and return its summary; the folder is replaced in one step.

    Files that the case has are kept unless they are made anew under the same name; its page, if it has one, is
    made anew, since it tells of the others. To be called within `at_work_on`.
    Raises ScanError, UsageError, OutputCreateError or OutputIOError.
    """
    case = load_case(folder)
    document = copy.deepcopy(dict(case.summary))
    case = FinishedCase(folder, document, case.cams)
    placement = options.placement or str(document["placement"])
    if placement not in document["affines_ras"]:
        known = ", ".join(document["affines_ras"])
        raise UsageError(f"--placement {placement!r} is unknown.", hint=f"Choose from: {known}.")
    names = tuple(entry["name"] for entry in document["labels"])
    chosen, slugs = _choose(document["labels"], names, options), label_slugs(names)
    drawn = _methods(case, options.methods)
    whole = case.view(library.volume_of(case))
    view = replace(whole, cams=drawn)
    kept = {str(output["path"]): Written(output["sha256"], output["bytes"]) for output in document["outputs"]}
    with CaseFolder(folder.parent, folder.name) as new:
        known_files: dict[Path, Written] = {}
        if "nifti" in options.formats:
            known_files = write_overlays(
                new, view, chosen, slugs, grid=options.grid, placement=placement, compress=options.compress
            )
        formats = tuple(name for name in options.formats if name != "html")
        wanted = Illustration(formats, options.signed, options.smooth, placement)
        illustrate(new, view, wanted, chosen, slugs)
        if "html" in options.formats or PAGE in kept:
            draw_page(new, whole)
        for path, written in kept.items():
            if not (new / path).exists():
                _keep(folder / path, new / path)
                known_files[new / path] = written
        document["outputs"] = hash_outputs(new, known_files)
        summary.write(new, document)
    return document


@contextmanager
def at_work_on(folders: Sequence[Path]) -> Iterator[None]:
    """Own the outputs in which these cases lie, as a run does, and clear away what killed processes left of the cases.

    Raises OutputCreateError where a run or another rendering is at work there.
    """
    cases: dict[Path, list[str]] = {}
    for folder in folders:
        told = read_summary(folder) or {}
        out = root_of(folder, str(told.get("case") or folder.name))
        cases.setdefault(out, []).append(folder.relative_to(out).as_posix())
    with ExitStack() as stack:
        for out, names in cases.items():
            stack.enter_context(output_lock(out, None))
            sweep(out, names)
        yield


def _methods(case: FinishedCase, wanted: tuple[str, ...] | None) -> dict[str, NDArray[np.float32]]:
    for method in wanted or ():
        if method not in case.cams:
            raise UsageError(
                f"The case {case.name} was not explained with {method}.",
                hint=f"It holds {', '.join(case.cams)}; other methods need hirescam explain.",
                code="method-missing",
            )
    return {method: cams for method, cams in case.cams.items() if wanted is None or method in wanted}


def _choose(labels: list[dict[str, Any]], names: tuple[str, ...], options: RenderOptions) -> list[str]:
    """The labels to draw; another threshold decides what is positive here and changes no prediction."""
    choice = LabelChoice.parse(options.labels, names)
    if options.threshold is not None:
        labels = [{**entry, "positive": entry["probability"] >= options.threshold} for entry in labels]
    return choice.choose(labels)


def _keep(old: Path, new: Path) -> None:
    """Take an unchanged file over into the new folder: by a second name where the file system can, else as a copy."""
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)
