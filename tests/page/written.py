"""A case's page as a file."""

from __future__ import annotations

from pathlib import Path

from hirescam_cli.case.view import CaseView
from hirescam_cli.page import page_text


def write_page(view: CaseView, path: Path) -> None:
    """Write the page of `view` to `path`."""
    path.write_text(page_text(view), encoding="utf-8")
