"""Making new overlays, pictures and pages from finished cases and their scans, without the network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from hirescam_cli.batch.lock import output_lock
from hirescam_cli.case.listing import read_case, root_of
from hirescam_cli.case.publish import SUMMARY, CaseFolder, sweep
from hirescam_cli.case.record import Case, Label, Output
from hirescam_cli.case.reload import FinishedCase, load_case
from hirescam_cli.choices import Grid
from hirescam_cli.errors import ScanError, UsageError
from hirescam_cli.evaluate.tables import read_ledger
from hirescam_cli.label_choice import LabelChoice
from hirescam_cli.library import ScanLibrary
from hirescam_cli.masks.collection import MaskProblem
from hirescam_cli.options import check, stated
from hirescam_cli.outlining import Outlines
from hirescam_cli.pipeline.stages import save
from hirescam_cli.placement import Placement
from hirescam_cli.results.format import Request, Style
from hirescam_cli.results.html import PAGE
from hirescam_cli.results.write import check_identifiers, check_volume, write_results


@dataclass(frozen=True)
class RenderOptions:
    """What to make; None takes what the case was explained with.

    `labels` as in `Settings`; `methods`: of those that the case holds; `threshold`: for "positive" labels.
    `cells`: show them as they are, not interpolated.
    """

    labels: str = stated("labels")
    methods: tuple[str, ...] | None = stated("method", default=None)
    threshold: float | None = stated("threshold")
    placement: Placement | None = stated("placement")
    grid: Grid | None = stated("grid")
    formats: tuple[str, ...] = stated("format")
    signed: bool = stated("signed")
    seg_fraction: float = stated("seg-fraction")
    cells: bool = stated("cells")
    compress: int = stated("compress")

    def __post_init__(self) -> None:
        check(self)


def render_case(
    folder: Path, library: ScanLibrary, options: RenderOptions, outlines: Outlines | None = None
) -> tuple[Case, tuple[MaskProblem, ...]]:
    """Add new files to a finished case; its record, and the masks that could not be outlined.

    The folder is replaced in one step.

    Files that lie there are kept unless they are made anew under the same name; the case's page, if it has one, is
    made anew, since it tells of the others. To be called within `at_work_on`.
    Raises ScanError, UsageError, OutputCreateError or OutputIOError.
    """
    finished = load_case(folder)
    case = finished.case
    placement = options.placement or case.placement
    if placement not in case.target.affines:
        known = ", ".join(case.target.affines)
        raise UsageError(f"--placement {placement!r} is unknown.", hint=f"Choose from: {known}.")
    chosen = _choose(case, options)
    methods = _methods(finished, options.methods)
    check_identifiers(options.formats, case.run.settings.get("identifiers"))
    masks, problems = ((), ()) if outlines is None else outlines.of(case)
    parts = read_ledger(root_of(folder, case.case) / "evaluation" / "ledger.csv", case.case, case.placement)
    whole = replace(finished.view(library.volume_of(finished)), masks=masks, ledger=parts)
    check_volume(options.formats, whole.volume)
    view = replace(whole, native={method: whole.native[method] for method in methods})
    style = Style(
        options.grid, placement, options.compress, options.signed, not options.cells, options.seg_fraction
    )
    kept = {output.path: output for output in case.outputs}
    formats = list(options.formats)
    if PAGE in kept and "html" not in formats:
        formats.append("html")
    with CaseFolder(folder.parent, folder.name) as new:
        made = write_results(formats, Request(new, view, whole, chosen, style))
        outputs = {output.path: output for output in made}
        for path, output in kept.items():
            if path not in outputs:
                if not (folder / path).is_file():
                    raise _gone(case.case, output)
                _keep(folder / path, new / path)
                outputs[path] = output
        for path in _of_the_user(folder, kept):
            if path not in outputs:
                _keep(folder / path, new / path)
        ordered = tuple(sorted(outputs.values(), key=lambda output: output.path))
        return save(new, msgspec.structs.replace(case, outputs=ordered)), problems


def _gone(case: str, output: Output) -> ScanError:
    return ScanError(
        f"The case {case} lacks its file {output.path}, which its summary lists.",
        hint=f"Put it back, make it anew with --format {output.format} as well, or explain the scan again.",
        code="output-gone",
    )


def _of_the_user(folder: Path, outputs: Iterable[str]) -> list[str]:
    """Files in a case folder that hirescam did not write, relative to it."""
    files = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in files if name not in {*outputs, SUMMARY}]


def case_names(folders: Sequence[Path]) -> list[str]:
    """What the cases in these folders are called; a folder without a case by its own name."""
    cases = [(folder, read_case(folder, folder.name)) for folder in folders]
    return [folder.name if case is None else case.case for folder, case in cases]


@contextmanager
def at_work_on(folders: Sequence[Path]) -> Iterator[None]:
    """Own the outputs in which these cases lie, as a run does, and clear away what killed processes left of the cases.

    Raises OutputCreateError where a run or another rendering is at work there.
    """
    cases: dict[Path, list[str]] = {}
    for folder in folders:
        case = read_case(folder, folder.name)
        out = root_of(folder, folder.name if case is None else case.case)
        cases.setdefault(out, []).append(folder.relative_to(out).as_posix())
    with ExitStack() as stack:
        for out, names in cases.items():
            stack.enter_context(output_lock(out, None))
            sweep(out, names)
        yield


def _methods(case: FinishedCase, wanted: tuple[str, ...] | None) -> list[str]:
    for method in wanted or ():
        if method not in case.cams:
            raise UsageError(
                f"The case {case.name} was not explained with {method}.",
                hint=f"It holds {', '.join(case.cams)}; other methods need hirescam explain.",
                code="method-missing",
            )
    return [method for method in case.cams if wanted is None or method in wanted]


def _choose(case: Case, options: RenderOptions) -> list[str]:
    """The labels to draw; another threshold decides what is positive here and changes no prediction."""
    labels: Sequence[Label] = case.labels
    choice = LabelChoice.parse(options.labels, [label.name for label in labels])
    limit = options.threshold
    if limit is not None:
        labels = [msgspec.structs.replace(label, positive=label.probability >= limit) for label in labels]
    return choice.choose(labels)


def _keep(old: Path, new: Path) -> None:
    """Take an unchanged file over into the new folder: by a second name where the file system can, else as a copy."""
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)
