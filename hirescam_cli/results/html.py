"""HTML: the page of a case, which holds every map of every method under every placement."""

from __future__ import annotations

from hirescam_cli.durable import write_file
from hirescam_cli.errors import OutputCreateError
from hirescam_cli.results.format import Made, Request, ResultFormat

PAGE = "report.html"


def write(request: Request) -> list[Made]:
    """The page. Raises OutputCreateError also when scan and maps do not fit into a page however coarsely."""
    from hirescam_cli.page import PAGE_BYTES, PageTooLarge, page_text

    try:
        text = page_text(request.whole)
    except PageTooLarge as error:
        raise OutputCreateError(
            f"{PAGE} of {request.whole.case.case} would be larger than {PAGE_BYTES / 1e6:g} MB: {error}.",
            hint="Ask for fewer methods or for a target layer with fewer cells, or leave html out.",
            code="page-too-large",
        ) from error
    write_file(request.folder / PAGE, text.encode("utf-8"))
    return [Made(PAGE, "page")]


FORMAT = ResultFormat("html", "page", write)
