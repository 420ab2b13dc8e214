"""Making new overlays, pictures and pages from finished cases and their scans, without the network."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError, UsageError
from hirescam_cli.io import InputPath, ReadOptions, Scan, discover, read
from hirescam_cli.io.fingerprint import fingerprint
from hirescam_cli.output import summary
from hirescam_cli.output.illustrate import Illustration, illustrate
from hirescam_cli.output.names import label_slugs
from hirescam_cli.output.overlays import write_overlays
from hirescam_cli.output.publish import CaseFolder, Written, hash_outputs
from hirescam_cli.output.reload import FinishedCase, load_case
from hirescam_cli.settings import LabelChoice, check_shared
from hirescam_cli.volume import Volume


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


class ScanLibrary:
    """The scans below some INPUTs, found by the fingerprint of their bytes."""

    def __init__(self, inputs: Sequence[InputPath], options: ReadOptions) -> None:
        self._options = options
        self._unknown = list(discover(inputs, options).scans)
        self._known: dict[str, Scan] = {}

    def volume_of(self, case: FinishedCase) -> Volume:
        """Read the scan that `case` was explained from; ScanError if it is not among the INPUTs."""
        wanted = case.summary["input"]["fingerprint"]
        while wanted not in self._known and self._unknown:
            scan = self._unknown.pop()
            self._known[fingerprint(scan.files)] = scan
            if scan.selector is not None:
                # An archive's own bytes say nothing of what is in it: only reading tells.
                self._known[read(scan, self._options).provenance.fingerprint] = scan
        if wanted not in self._known:
            raise ScanError(
                f"The scan of the case {case.name} is not among the inputs given.",
                hint="Name its file or folder with --scan; it is recognised by its content.",
                code="scan-missing",
                stage="render",
            )
        return read(self._known[wanted], self._options)


def render_case(folder: Path, library: ScanLibrary, options: RenderOptions) -> dict[str, Any]:
    """Add new files to a finished case and return its summary; the folder is replaced in one step.

    Files that the case has are kept unless they are made anew under the same name.
    Raises ScanError, UsageError, OutputCreateError or OutputIOError.
    """
    case = load_case(folder)
    document = copy.deepcopy(dict(case.summary))
    case = FinishedCase(folder, document, _methods(case, options.methods))
    placement = options.placement or str(document["placement"])
    if placement not in document["affines_ras"]:
        known = ", ".join(document["affines_ras"])
        raise UsageError(f"--placement {placement!r} is unknown.", hint=f"Choose from: {known}.")
    names = tuple(entry["name"] for entry in document["labels"])
    chosen, slugs = _choose(document["labels"], names, options), label_slugs(names)
    view = case.view(library.volume_of(case))
    with CaseFolder(folder.parent, folder.name) as new:
        for existing in document["outputs"]:
            _keep(folder / existing["path"], new / existing["path"])
        overlays: dict[Path, Written] = {}
        if "nifti" in options.formats:
            overlays = write_overlays(
                new, view, chosen, slugs, grid=options.grid, placement=placement, compress=options.compress
            )
        wanted = Illustration(options.formats, options.signed, options.smooth, placement)
        illustrate(new, view, wanted, chosen, slugs)
        document["outputs"] = hash_outputs(new, overlays)
        summary.write(new, document)
    return document


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
    """Take a file over into the new folder; a copy, since the new one is made anew under the same name at times."""
    new.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(old, new)
