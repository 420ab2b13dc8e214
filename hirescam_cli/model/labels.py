"""The names of a model's labels: a list, a file with one a line, a column of a table, or no more than their number."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hirescam_cli.errors import ModelError
from hirescam_cli.toml_table import Table

KEYS = ("names", "file", "column", "count")


def label_names(path: Path, table: Table) -> tuple[str, ...]:
    """The names that [labels] of the model file `path` gives. Raises ModelError if it gives none or several."""
    given = [key for key in ("names", "file", "count") if key in table]
    if len(given) != 1:
        raise ModelError(
            f"{path.name}: [labels] needs either names or file, or count if they have no names.",
            code="model-toml",
            hint="Give one of them.",
        )
    if "column" in table and "file" not in table:
        raise table.fail("column", table.values["column"], "no such key without file")
    if "count" in table:
        count = table.whole("count", "the number of labels")
        return tuple(f"output {n:0{len(str(count))}}" for n in range(1, count + 1))
    return _file(path, table) if "file" in table else table.words("names", "a list of strings")


def _file(path: Path, table: Table) -> tuple[str, ...]:
    name = table.text("file", "a path")
    try:
        text = (path.parent / name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise table.fail("file", name, "a readable UTF-8 file with one label a line") from error
    if "column" in table:
        return _column(table, name, text)
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def _column(table: Table, name: str, text: str) -> tuple[str, ...]:
    """A column of comma-separated values, by the name in their first row.

    Labels are listed with commas and written into file names, so a comma becomes a semicolon and a slash a hyphen.
    """
    column = table.text("column", "the name of a column")
    rows = csv.DictReader(io.StringIO(text))
    names = rows.fieldnames or []
    if column not in names:
        raise table.fail("column", column, f"a column of {name}, which has {', '.join(map(str, names))}")
    found = [(row[column] or "").strip() for row in rows]
    return tuple(label.replace(",", ";").replace("/", "-") for label in found)
