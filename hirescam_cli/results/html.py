"""HTML: the page of a case, which holds every map of every method under every placement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hirescam_cli.case.view import CaseView
from hirescam_cli.durable import write_file
from hirescam_cli.errors import OutputCreateError
from hirescam_cli.results.format import Made, Request, ResultFormat

if TYPE_CHECKING:
    from hirescam_cli.page import Evaluated

PAGE = "report.html"

_MOST_OF_OUTLINES = 4_000_000
"""Characters of a page that outlines may take from the scan."""
_COARSE = (1, 2, 3, 4, 6, 8)


def write(request: Request) -> list[Made]:
    """The page. Raises OutputCreateError also when scan and maps do not fit into a page however coarsely."""
    from hirescam_cli.page import PAGE_BYTES, PageTooLarge, page_text

    try:
        text = page_text(request.whole, _evaluated(request.whole))
    except PageTooLarge as error:
        raise OutputCreateError(
            f"{PAGE} of {request.whole.case.case} would be larger than {PAGE_BYTES / 1e6:g} MB: {error}.",
            hint="Ask for fewer methods or for a target layer with fewer cells, or leave html out.",
            code="page-too-large",
        ) from error
    write_file(request.folder / PAGE, text.encode("utf-8"))
    return [Made(PAGE, "page")]


def _evaluated(view: CaseView) -> Evaluated:
    """The outlines of the case's masks, each once, as finely as the page has room for."""
    from hirescam_cli.page import Evaluated, Outline, Polyline
    from hirescam_cli.pictures.outlines import in_patient

    masks = {outlined.mask.name: outlined.mask for outlined in view.masks}
    found = Evaluated()
    for coarse in _COARSE:
        found = Evaluated(
            [
                Outline(name, [Polyline(*line) for line in in_patient(mask, view.volume.grid, coarse)])
                for name, mask in masks.items()
            ]
        )
        if found.room <= _MOST_OF_OUTLINES:
            break
    return found


FORMAT = ResultFormat("html", "page", write)
