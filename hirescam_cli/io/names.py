"""What scans are called: case names below the output folder and names in messages, safe to write anywhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from hirescam_cli.errors import UsageError

_LONGEST_PART = 255


def printable(text: str) -> str:
    """`text` with undecodable bytes and control characters replaced, so that it can be written as UTF-8."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in whole)


class Told(Protocol):
    """Something that is told of an object: what the object is called, and a slug for what is told."""

    @property
    def name(self) -> str:
        """As `Scan.name`."""

    @property
    def code(self) -> str:
        """The slug."""


Item = TypeVar("Item", bound=Told)


def by_folder(items: Iterable[Item]) -> list[tuple[str, list[Item]]]:
    """What is told, by folder of the object and by code, in the order of the first of each: (folder, items)."""
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        groups.setdefault((str(PurePosixPath(item.name).parent), item.code), []).append(item)
    return [(folder, group) for (folder, _), group in groups.items()]


def relative_name(path: Path, root: Path) -> str:
    """What messages call a file: its POSIX path below the INPUT `root`, or its own name if it is the INPUT."""
    return printable(own_name(path) if path == root else path.relative_to(root).as_posix())


def own_name(path: Path) -> str:
    """The name of a file or folder as it was given; the real one where that says none ("." and "..")."""
    return path.resolve().name if path.name in ("", "..") else path.name


def check_case(case: str) -> str:
    """A case name given by the user, if it is a plain relative path; else UsageError."""
    parts = case.split("/")
    wrong = (
        any(unicodedata.category(c)[0] == "C" for c in case)
        or "\\" in case
        or any(part in ("", ".", "..") or part.strip() != part for part in parts)
        or any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST_PART for part in parts)
    )
    if wrong:
        raise UsageError(
            f"The case name {printable(case)!r} is not a plain relative path.",
            hint="Use id=path with an id of letters, digits, dots and dashes; no leading slash, no '..'.",
            code="case-name",
        )
    return case


def given_name(path: Path) -> str:
    """What messages call an INPUT itself: as it was given, but never an absolute path."""
    return printable(path.name if path.is_absolute() else str(path))
