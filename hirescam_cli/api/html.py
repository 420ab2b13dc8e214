"""Small tables for notebooks. All text is escaped here, whatever it holds."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as HTML; numbers with three significant digits, None as nothing."""
    caption = "" if title is None else f"<caption>{escape(title)}</caption>"
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_shown(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    heading = f"<thead><tr>{head}</tr></thead>" if any(columns) else ""
    return f"<table>{caption}{heading}<tbody>{body}</tbody></table>"


def paragraph(text: str) -> str:
    """A paragraph as HTML."""
    return f"<p>{escape(text)}</p>"


def picture(png: bytes, words: str) -> str:
    """A PNG as HTML that needs no file; `words`: for those who cannot see it."""
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{b64encode(png).decode()}">'


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
