"""Which pictures and pages a case gets, under which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.output.view import CaseView

PAGE = "report.html"
SLICE_SCORES = "slice-scores.png"


@dataclass(frozen=True)
class Illustration:
    """`formats`: "png", "gif", "html". `signed`: negative evidence too. `smooth` False: the cells as they are.

    `placement`: None takes the case's own; another one becomes part of the file names.
    """

    formats: tuple[str, ...]
    signed: bool = False
    smooth: bool = True
    placement: str | None = None


def illustrate(
    folder: Path, view: CaseView, wanted: Illustration, labels: Sequence[str], slugs: Mapping[str, str]
) -> None:
    """Draw what is wanted of the chosen `labels` into `folder`; the pictures' names are entered in the view's summary.

    `slugs`: a file-safe name for each label.
    """
    placement = wanted.placement or view.placement
    suffix = "" if placement == view.placement else f".{placement}"
    if "png" in wanted.formats:
        _pictures(folder, view, wanted, labels, {name: slugs[name] + suffix for name in labels})
    if "gif" in wanted.formats:
        from hirescam_cli.output.pictures import draw_volume_gif

        for method in view.cams:
            for name in labels:
                path = folder / f"{method}.{slugs[name]}{suffix}.gif"
                draw_volume_gif(view, method, name, path, placement=placement)
    if "html" in wanted.formats:
        draw_page(folder, view)


def draw_page(folder: Path, view: CaseView) -> None:
    """Write the page of a case, which holds every map of the view under every placement."""
    from hirescam_cli.output.page import write_page

    write_page(view, folder / PAGE)


def _pictures(
    folder: Path, view: CaseView, wanted: Illustration, labels: Sequence[str], stems: Mapping[str, str]
) -> None:
    from hirescam_cli.output.pictures import draw_comparison, draw_label, draw_slice_scores

    placement = wanted.placement or view.placement
    for name in labels:
        for method in view.cams:
            picture = f"{method}.{stems[name]}.png"
            draw_label(
                view,
                method,
                name,
                folder / picture,
                signed=wanted.signed,
                placement=placement,
                smooth=wanted.smooth,
            )
            if placement == view.placement:
                view.label(name)["maps"][method]["picture"] = picture
        if len(view.cams) > 1:
            path = folder / f"comparison.{stems[name]}.png"
            draw_comparison(view, name, path, placement=placement, smooth=wanted.smooth)
    draw_slice_scores(view, folder / SLICE_SCORES)
