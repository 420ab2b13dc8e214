"""What masks are called: the file of `--mask-labels`, and how names are compared."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from unicodedata import category, normalize

from hirescam_cli.errors import UsageError

_NAME_LAST = re.compile(r'\s*(\d+)\s+(?:[\d.]+\s+){6}"([^"]*)"\s*')
_HINT = 'Give a CSV of "value,name" lines, a JSON object, or a colour table of 3D Slicer or ITK-SNAP.'


_Key = Callable[[str], str]


@dataclass(frozen=True)
class Assignment:
    """Whose masks are whose. `masks`: by label the mask that is its own.

    `doubtful`: by label the masks that could be its own, or another's, and are therefore nobody's.
    """

    masks: Mapping[str, str]
    doubtful: Mapping[str, tuple[str, ...]]


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """A name without regard to capitals and to how its letters are encoded (Unicode NFC)."""
    return normalize("NFC", normalize("NFC", name).casefold())


@lru_cache(maxsize=4096)
def spelled(name: str) -> str:
    """A folded name with blanks, dashes and underscores alike; every other sign counts ("<1 cm" is not ">1 cm")."""
    apart = "".join("_" if c.isspace() or category(c) in ("Pd", "Pc") else c for c in folded(name))
    return re.sub("_+", "_", apart).strip("_")


@lru_cache(maxsize=4096)
def slug(name: str) -> str:
    """A name's words: lower case, letters and digits of any script, one underscore between them.

    "Lung nodule", "lung_nodule" and "(Lung) nodule" agree. Empty for a name of signs alone.
    """
    whole = normalize("NFKC", normalize("NFKC", name).casefold())
    apart = "".join(c if category(c)[0] in "LNM" else "_" for c in whole)
    return re.sub("_+", "_", apart).strip("_")


def signs_agree(one: str, other: str) -> bool:
    """Whether the mathematical signs of two names (<, >, +, ...) are the same, or one has none."""
    first, second = (
        "".join(c for c in normalize("NFC", name) if category(c) == "Sm") for name in (one, other)
    )
    return not first or not second or first == second


def assign(names: Iterable[str], labels: Iterable[str], slugs: Mapping[str, str] | None = None) -> Assignment:
    """Give each label its mask: the one of exactly its name, else of its name in another spelling, else of its slug in
    `slugs` (what a case calls its files), else of the same words.

    A mask that one label has is not considered for another. What fits two labels equally well, or two masks that fit
    one label, are given to nobody.
    """
    labels, free = tuple(dict.fromkeys(labels)), list(dict.fromkeys(names))
    own: dict[str, str] = {}
    doubtful: dict[str, tuple[str, ...]] = {}
    for step in _steps(slugs or {}):
        meant = _meant(free, labels, *step)
        for label in labels:
            fitting = [name for name in free if label in meant[name]]
            if fitting and label not in own and label not in doubtful:
                if len(fitting) == 1 and len(meant[fitting[0]]) == 1:
                    own[label] = fitting[0]
                else:
                    doubtful[label] = tuple(fitting)
        taken = {*own.values(), *(name for fitting in doubtful.values() for name in fitting)}
        free = [name for name in free if name not in taken]
    return Assignment(own, doubtful)


def _meant(
    names: Sequence[str],
    labels: Sequence[str],
    of_label: _Key,
    of_mask: _Key,
    agree: Callable[[str, str], bool],
) -> dict[str, set[str]]:
    """By mask all labels that it fits in one way of comparing."""
    by_key: dict[str, list[str]] = {}
    for label in labels:
        by_key.setdefault(of_label(label), []).append(label)
    by_key.pop("", None)
    return {name: {label for label in by_key.get(of_mask(name), ()) if agree(label, name)} for name in names}


def _steps(slugs: Mapping[str, str]) -> list[tuple[_Key, _Key, Callable[[str, str], bool]]]:
    """How names are compared, the strictest way first: keys of a label and of a mask, and what else has to agree."""

    def always(_label: str, _mask: str) -> bool:
        return True

    return [
        (str, str, always),
        (folded, folded, always),
        (spelled, spelled, always),
        (lambda label: slugs.get(label, "").casefold(), folded, always),
        (slug, slug, signs_agree),
    ]


def matching(names: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """For each of `wanted` (all labels, or organs) that one of the masks' `names` means, that name; see `assign`."""
    return dict(assign(names, wanted).masks)


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
