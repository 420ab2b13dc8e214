"""HTML: one self-contained page a case (`write_page`), an index of a run (`write_index`)."""

from hirescam_cli.output.page.index import write_index
from hirescam_cli.output.page.page import write_page

__all__ = ["write_index", "write_page"]
