"""HTML: one self-contained page a case (`page_text`), an index of a run (`index_text`)."""

from hirescam_cli.page.encode import PageTooLarge
from hirescam_cli.page.evaluated import Evaluated, LedgerRow, Outline, Polyline
from hirescam_cli.page.index import index_text
from hirescam_cli.page.page import PAGE_BYTES, page_text

__all__ = [
    "PAGE_BYTES",
    "Evaluated",
    "LedgerRow",
    "Outline",
    "PageTooLarge",
    "Polyline",
    "index_text",
    "page_text",
]
