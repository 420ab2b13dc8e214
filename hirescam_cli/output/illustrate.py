"""Which pictures and pages a case gets, under which names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hirescam_cli.output.view import CaseView

PAGE = "report.html"
SLICE_SCORES = "slice-scores.png"


def illustrate(
    folder: Path,
    view: CaseView,
    formats: Collection[str],
    labels: Sequence[str],
    slugs: Mapping[str, str],
    *,
    signed: bool = False,
) -> None:
    """Draw what `formats` ("png", "gif", "html") ask for into `folder`, for the chosen `labels`.

    The picture's file name is entered in the view's summary. `slugs`: a file-safe name for each label.
    """
    if "png" in formats:
        _pictures(folder, view, labels, slugs, signed=signed)
    if "gif" in formats:
        from hirescam_cli.output.pictures import draw_volume_gif

        for method in view.cams:
            for name in labels:
                draw_volume_gif(view, method, name, folder / f"{method}.{slugs[name]}.gif")
    if "html" in formats:
        from hirescam_cli.output.page import write_page

        write_page(view, folder / PAGE)


def _pictures(
    folder: Path, view: CaseView, labels: Sequence[str], slugs: Mapping[str, str], *, signed: bool
) -> None:
    from hirescam_cli.output.pictures import draw_comparison, draw_label, draw_slice_scores

    for name in labels:
        for method in view.cams:
            picture = f"{method}.{slugs[name]}.png"
            draw_label(view, method, name, folder / picture, signed=signed)
            view.label(name)["maps"][method]["picture"] = picture
        if len(view.cams) > 1:
            draw_comparison(view, name, folder / f"comparison.{slugs[name]}.png")
    draw_slice_scores(view, folder / SLICE_SCORES)
