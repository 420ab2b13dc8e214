"""What commands share for talking to a person: streams, tables, colour."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text


def stdout() -> Console:
    """Results. Plain and unwrapped when piped; NO_COLOR is honoured."""
    console = Console(file=sys.stdout, highlight=False, emoji=False)
    return (
        console if console.is_terminal else Console(file=sys.stdout, highlight=False, emoji=False, width=200)
    )


def stderr() -> Console:
    """Everything else."""
    return Console(file=sys.stderr, highlight=False, emoji=False, soft_wrap=True)


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
    """One JSON document on stdout; raises ValueError for NaN."""
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def table(*columns: str, title: str | None = None, right: tuple[str, ...] = ()) -> Table:
    """A light table; the columns named in `right` are aligned right."""
    result = Table(
        title=title, box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold"
    )
    for column in columns:
        result.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return result
