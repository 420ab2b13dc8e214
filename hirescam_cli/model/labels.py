"""The labels of a model: their names, thresholds and codes.

Names are a list, a file with one a line, a column of a table, or no more than their number.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.errors import ModelError
from hirescam_cli.label_choice import is_label_name
from hirescam_cli.toml_table import Table, is_number

_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, invisible and bidirectional marks, line breaks
KEYS = ("names", "file", "column", "count")


@dataclass(frozen=True)
class Code:
    """What a label is in a coding scheme of medicine, as DICOM results tell it."""

    scheme: str
    value: str
    meaning: str


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
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        names = rows.fieldnames or []
        if column not in names:
            raise table.fail("column", column, f"a column of {name}, which has {', '.join(map(str, names))}")
        found = [(row[column] or "").strip() for row in rows]
    except csv.Error as error:
        what = f"comma-separated values, with each quotation mark closed; after line {rows.line_num}: {error}"
        raise table.fail("file", name, what) from error
    return tuple(label.replace(",", ";").replace("/", "-") for label in found)


def read_labels(path: Path, table: Table) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The names and thresholds that [labels] gives. Raises ModelError for what cannot be."""
    table.only((*KEYS, "threshold", "thresholds", "codes"))
    names = label_names(path, table)
    for name in names:
        if not name.strip() or "/" in name:
            raise table.fail("names", name, "non-empty strings without slashes")
        if any(unicodedata.category(c) in _CONTROL for c in name):
            raise table.fail("names", name, "a name without control characters")
        if not is_label_name(name):
            raise table.fail("names", name, "a name that --labels cannot take for something else")
    if (not names and not table.doubtful) or len(set(names)) != len(names):
        raise ModelError(
            f"{path.name}: [labels] holds {len(names)} names, {len(set(names))} of them different.",
            hint="Labels are in the order of the network's outputs, each once.",
            code="model-toml",
        )
    default = _probability(table, "threshold", 0.5)
    own = table.table("thresholds", required=False)
    if names:
        own.only(names)
    return names, tuple(_probability(own, name, default) for name in names)


def read_codes(table: Table, names: tuple[str, ...]) -> dict[str, Code]:
    """The codes of labels: nodule = { scheme = "SCT", value = "27925004", meaning = "Nodule" }."""
    codes = table.table("codes", required=False)
    if names:
        codes.only(names)
    found = {}
    for name in codes.values:
        one = codes.table(name)
        one.only(("scheme", "value", "meaning"))
        found[name] = Code(_coded(one, "scheme", 16), _coded(one, "value", 64), _coded(one, "meaning", 64))
    return found


def _coded(table: Table, key: str, longest: int) -> str:
    """A text that a DICOM code holds: of one value, without controls."""
    expected = f"1 to {longest} characters, none of them a backslash or a control character"
    text = table.text(key, expected)
    plain = "\\" not in text and not any(unicodedata.category(c) in _CONTROL for c in text)
    if not plain or not 1 <= len(text.strip()) <= longest or text != text.strip():
        raise table.fail(key, text, expected)
    return text


def _probability(table: Table, key: str, default: float) -> float:
    value = table.values.get(key, default)
    if not is_number(value) or not 0.0 <= float(value) <= 1.0:  # type: ignore[arg-type]
        raise table.fail(key, value, "a probability from 0 to 1")
    return float(value)  # type: ignore[arg-type]
