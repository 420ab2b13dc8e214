"""What masks are called: the file of `--mask-labels`, and how names are compared."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from hirescam_cli.errors import UsageError

_NAME_LAST = re.compile(r'\s*(\d+)\s+(?:[\d.]+\s+){6}"([^"]*)"\s*')
_HINT = 'Give a CSV of "value,name" lines, a JSON object, or a colour table of 3D Slicer or ITK-SNAP.'


def slug(name: str) -> str:
    """A name for comparison: lower case, words joined by one underscore ("Lung nodule" and "lung_nodule" agree)."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def matching(names: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """For each of `wanted` (labels, organs) that one of the masks' `names` means, that name."""
    by_slug = {slug(name): name for name in names}
    return {text: by_slug[slug(text)] for text in wanted if slug(text) in by_slug}


def read_names(path: Path) -> dict[int, str]:
    """The names of label values in the file of --mask-labels. Raises UsageError.

    Understood are: CSV or TSV with the columns value and name (a heading line may be there); JSON, an object of
    values to names or of names to values, alone or under "labels" as in nnU-Net's dataset.json; colour tables
    of 3D Slicer (`.ctbl`) and label descriptions of ITK-SNAP.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, "it cannot be read as text") from error
    names = _from_json(path, text) if text.lstrip().startswith("{") else _from_lines(path, text)
    names.pop(0, None)
    if not names:
        raise _wrong(path, "it names no value")
    return names


def _from_json(path: Path, text: str) -> dict[int, str]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, "it is not valid JSON") from error
    table = document.get("labels", document)
    if not isinstance(table, Mapping):
        raise _wrong(path, "it is not an object of values and names")
    pairs = []
    for key, value in table.items():
        if isinstance(value, str) and key.isdecimal():
            pairs.append((int(key), value))
        elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            pairs.append((value, key))
        else:
            raise _wrong(path, f"{key!r} does not stand for one value")
    return _table(path, pairs)


def _from_lines(path: Path, text: str) -> dict[int, str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    snap = [_NAME_LAST.fullmatch(line) for line in lines]
    if lines and all(snap):
        return _table(path, [(int(match[1]), match[2]) for match in snap if match])
    pairs = []
    for number, line in enumerate(lines):
        value, name = _pair(path, line)
        if value.isdecimal():
            pairs.append((int(value), name))
        elif number:
            raise _wrong(path, f"the line {line[:60]!r} does not begin with a whole number")
    return _table(path, pairs)


def _pair(path: Path, line: str) -> tuple[str, str]:
    """Value and name of a line: two columns of a table, or the first two words of a colour table."""
    separator = next((mark for mark in (",", ";", "\t") if mark in line), None)
    parts = next(csv.reader([line], delimiter=separator)) if separator else line.split()
    if len(parts) < 2 or not parts[1].strip():
        raise _wrong(path, f"the line {line[:60]!r} is not a value and a name")
    return parts[0].strip(), parts[1].strip()


def _table(path: Path, pairs: Iterable[tuple[int, str]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for value, name in pairs:
        if names.setdefault(value, name) != name:
            raise _wrong(path, f"the value {value} has two names, {names[value]!r} and {name!r}")
    return names


def _wrong(path: Path, what: str) -> UsageError:
    return UsageError(f"--mask-labels {path.name}: {what}.", hint=_HINT, code="mask-labels")
