"""What commands share for talking to a person: streams, tables, colour."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_WIDTH_WHEN_PIPED = 200
_WIDEST = 100_000


def stdout() -> Console:
    """Results, whose lines are left to the terminal to wrap; plain when piped; NO_COLOR is honoured."""
    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDTH_WHEN_PIPED
    return console


def stderr() -> Console:
    """Everything else."""
    return Console(file=sys.stderr, highlight=False, emoji=False, markup=False, soft_wrap=True)


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Gives a function that shows on a terminal what is being done, in a line that goes away; elsewhere nothing."""
    console = stderr()
    if not console.is_terminal:
        yield lambda _text: None
        return
    with console.status("") as status:
        yield lambda text: status.update(Text(text, overflow="ellipsis", no_wrap=True))


def print_json(document: Mapping[str, object]) -> None:
    """One JSON document on stdout, in what its encoding can write; raises ValueError for NaN."""
    from hirescam_cli.json_text import json_text

    print(json_text(document, sys.stdout.encoding, indent=1))


def table(
    *columns: str, title: str | None = None, right: tuple[str, ...] = (), names: tuple[str, ...] = ()
) -> Table:
    """A light table, to be printed by `print_table`.

    The columns named in `right` are aligned right; those in `names` hold names, which may have spaces in them.
    """
    result = Table(
        title=title, box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold"
    )
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in right else "left"
        result.add_column(column, justify=justify, overflow="fold", no_wrap=column in names)
    return result


def print_table(console: Console, rows: Table) -> None:
    """Print a table if that breaks no word and no name; else row by row, one line a cell, which the terminal may wrap.

    When piped a table is as wide as it needs to be.
    """
    if not console.is_terminal:
        wide = console.options.update(max_width=_WIDEST)
        console.width = max(console.width, console.measure(rows, options=wide).maximum)
    if _fits(rows, console.width):
        console.print(rows, soft_wrap=False)
        return
    if rows.title:
        console.print(rows.title, style="bold")
    for cells in zip(*(column.cells for column in rows.columns), strict=True):
        first, *others = (_text(cell) for cell in cells)
        console.print(first)
        for column, cell in zip(rows.columns[1:], others, strict=True):
            if cell.plain.strip():
                console.print(Text.assemble("  ", _text(column.header), ": ", cell))


def _fits(rows: Table, width: int) -> bool:
    trial = Console(
        file=io.StringIO(), width=width, color_system=None, highlight=False, emoji=False, markup=False
    )
    with trial.capture() as taken:
        trial.print(rows)
    lines = taken.get()
    words = set(lines.split())
    for column in rows.columns:
        for cell in map(_text, column.cells):
            parts = [cell.plain.strip()] if column.no_wrap else cell.plain.split()
            if not all(part in words or (" " in part and part in lines) for part in parts if part):
                return False
    return True


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))
