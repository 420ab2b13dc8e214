"""What a page shows of an evaluation: the ledger of one case, from the lines of ledger.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import NamedTuple


class PageRow(NamedTuple):
    """How many logits of a label a method's map puts into a region ("bias", "outside" and "padding" among them)."""

    label: str
    method: str
    region: str
    logits: float


def page_rows(lines: Iterable[str], case: str, placement: str) -> list[PageRow]:
    """The rows of `case` under `placement`, in their order; those of a label and a method add up to its logit.

    `lines`: of ledger.csv, header included. Raises KeyError for a missing column, ValueError for what is not a number.
    """
    return [
        PageRow(_text(row["label"]), row["method"], _text(row["region"]), float(row["logits"]))
        for row in csv.DictReader(lines)
        if _text(row["case"]) == case and row["placement"] == placement
    ]


def _text(cell: str) -> str:
    """A cell without the mark that keeps a spreadsheet from taking it for a formula."""
    return cell[1:] if cell.startswith("'") else cell
